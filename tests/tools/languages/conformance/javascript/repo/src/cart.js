import { rounded } from "./prices.js";

export const RATE = 2;

/** Items with their prices. */
export class Cart {
  constructor(prices) {
    this.prices = prices;
  }

  /** The sum of the prices. */
  total(by) {
    let sum = 0;
    for (const price of this.prices) {
      sum += price * by;
    }
    return rounded(sum);
  }
}

export function empty(cart) {
  return cart.total(1) === 0;
}
