/** Once for each run of Jest: removes what dead runs left, and sees to it that this one leaves nothing however it ends. */
module.exports = async () => {
  const { reap, guard } = await import("./reap.mjs");
  for (const line of reap()) console.error(`left by an earlier run, removed: ${line}`);
  guard();
};
