import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cart } from '../src/cart.js';

test('one item costs its price', () => {
  assert.equal(new Cart().add('tea', 450).total(), 450);
});

test('the count of an item is paid', () => {
  const cart = new Cart().add('tea', 450, 3).add('pot', 2000);
  assert.equal(cart.subtotal(), 3350);
});

test('an empty cart costs nothing', () => {
  assert.equal(new Cart().total(), 0);
});
