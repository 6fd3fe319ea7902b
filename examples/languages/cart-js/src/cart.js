import { discountFor } from './discounts.js';

/** A shopping cart: items with a price in cents and a count. */
export class Cart {
  #items = [];

  /** Puts `count` of an item into the cart. */
  add(name, price, count = 1) {
    this.#items.push({ name, price, count });
    return this;
  }

  /** Sum of price times count over all items, in cents. */
  subtotal() {
    let sum = 0;
    for (const item of this.#items) {
      sum += item.price;
    }
    return sum;
  }

  /** What is to be paid, in cents: the subtotal less the discount in percent. */
  total() {
    const subtotal = this.subtotal();
    return subtotal - Math.round(subtotal * discountFor(subtotal) / 100);
  }
}
