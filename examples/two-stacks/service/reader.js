const http = require("node:http");

const server = http.createServer(async (_request, response) => {
  try {
    const answer = await fetch(process.env.CLOCK_URL);
    response.end(`The clock says ${await answer.text()}`);
  } catch (error) {
    response.statusCode = 502;
    response.end(`${error.message}\n`);
  }
});
server.listen(Number(process.env.PORT));
