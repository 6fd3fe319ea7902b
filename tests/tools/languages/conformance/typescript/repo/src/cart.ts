import { rounded } from "./prices";

export const RATE = 2;

/** Items with their prices. */
export class Cart {
  constructor(private prices: number[]) {}

  /** The sum of the prices. */
  total(by: number): number {
    let sum = 0;
    for (const price of this.prices) {
      sum += price * by;
    }
    return rounded(sum);
  }
}

export function empty(cart: Cart): boolean {
  return cart.total(1) === 0;
}
