/** Discount in percent for a subtotal in cents: 10 from 100.00 on, 5 from 50.00 on. */
export function discountFor(subtotal) {
  if (subtotal >= 10000) {
    return 10;
  }
  if (subtotal >= 5000) {
    return 5;
  }
  return 0;
}
