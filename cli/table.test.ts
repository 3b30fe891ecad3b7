import { table } from "./table";

test("columns are as wide as their widest cell and three spaces apart", () => {
  expect(
    table(
      ["PEER NAME", "REGION"],
      [
        ["my-private-network", "ord"],
        ["laptop", "-"],
      ],
    ),
  ).toBe(["PEER NAME            REGION", "my-private-network   ord", "laptop               -"].join("\n"));
});
