import { test } from "node:test";
import { Cart, empty } from "../src/cart";

test("sums the prices", () => {
  if (new Cart([1, 2]).total(2) !== 6) throw new Error("no");
});

test("is empty", () => {
  if (!empty(new Cart([]))) throw new Error("no");
});
