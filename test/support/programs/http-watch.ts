/**
 * Asks an HTTP server again and again, with a short patience, and prints the time (milliseconds since 1970) of each answer.
 * Takes the URL and the milliseconds of patience.
 */
import * as http from "node:http";

const url = process.argv[2];
const patience = Number(process.argv[3]);

function ask(): void {
  let done = false;
  const next = (answered: boolean) => {
    if (done) return;
    done = true;
    if (answered) console.log(Date.now());
    setTimeout(ask, answered ? 10 : 5);
  };
  const request = http.get(url, { agent: false, timeout: patience }, (response) => {
    response.resume();
    response.on("end", () => next(response.statusCode === 200));
  });
  // The time-out of a request begins when it is connected; a lost SYN must not cost a second here.
  const timer = setTimeout(() => request.destroy(), patience);
  request.on("error", () => next(false));
  request.on("close", () => {
    clearTimeout(timer);
    next(false);
  });
}
ask();
