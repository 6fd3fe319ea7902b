"""Small repositories in other languages than Python, each with a bug, its check, and a right and a wrong repair."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    files: dict[str, str]
    test: str
    language: str
    """What a fence calls it."""
    right: str
    wrong: str
    """Parses; `{n}` makes it another program."""
    broken: str
    """Does not parse."""
    fault: str
    """What the right repair takes out of the code."""

    def write(self, folder: Path) -> Path:
        """A git repository, committed."""
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
            subprocess.run(
                ["git", "-c", "user.name=t", "-c", "user.email=t@t", *args], cwd=folder, check=True
            )
        return folder


JAVASCRIPT = Sample(
    files={
        "package.json": '{"name": "shop", "version": "1.0.0", "type": "module"}\n',
        "src/cart.js": """/** Items with their prices. */
export class Cart {
  #prices = [];

  add(price) {
    this.#prices.push(price);
    return this;
  }

  /**
   * Sum of the prices.
   */
  total() {
    let sum = 0;
    for (const price of this.#prices.slice(1)) {
      sum += price;
    }
    return sum;
  }
}
""",
        "test/cart.test.js": """import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cart } from '../src/cart.js';

test('all prices are summed', () => {
  assert.equal(new Cart().add(1).add(2).total(), 3);
});

test('nothing costs nothing', () => {
  assert.equal(new Cart().total(), 0);
});
""",
    },
    test="node --test",
    language="javascript",
    right=(
        "total() {\n    let sum = 0;\n    for (const price of this.#prices) {\n"
        "        sum += price;\n    }\n    return sum;\n}\n"
    ),
    wrong="total() {\n  return this.#prices.length + {n};\n}\n",
    broken="total() {\n  return this.#prices.reduce((a, b) => a + b;\n}\n",
    fault=".slice(1)",
)
GO = Sample(
    files={
        "go.mod": "module example.com/shop\n\ngo 1.19\n",
        "cart.go": """package shop

// Cart holds prices.
type Cart struct {
	prices []int
}

// Total is the sum of the prices.
func (c *Cart) Total() int {
	sum := 0
	for _, price := range c.prices[1:] {
		sum += price
	}
	return sum
}
""",
        "cart_test.go": """package shop

import "testing"

func TestTotal(t *testing.T) {
	cart := Cart{prices: []int{1, 2}}
	if got := cart.Total(); got != 3 {
		t.Errorf("got %d", got)
	}
}

func TestOther(t *testing.T) {}
""",
    },
    test="go test ./...",
    language="go",
    right=(
        "func (c *Cart) Total() int {\n    sum := 0\n    for _, price := range c.prices {\n"
        "        sum += price\n    }\n    return sum\n}\n"
    ),
    wrong="func (c *Cart) Total() int {\n\treturn len(c.prices) + {n}\n}\n",
    broken="func (c *Cart) Total() int {\n\treturn len(c.prices) +\n}\n",
    fault="[1:]",
)
RUBY = Sample(
    files={
        "lib/cart.rb": """# Holds prices.
class Cart
  def initialize(prices)
    @prices = prices
  end

  # The sum of the prices.
  def total
    sum = 0
    for price in @prices.drop(1)
      sum += price
    end
    sum
  end
end
""",
        "test/cart_test.rb": """require "minitest/autorun"
require "cart"

class CartTest < Minitest::Test
  def test_total
    assert_equal 3, Cart.new([1, 2]).total
  end

  def test_nothing
    assert_equal 0, Cart.new([]).total
  end
end
""",
    },
    test="ruby -Ilib test/cart_test.rb",
    language="ruby",
    right="def total\n    sum = 0\n    for price in @prices\n        sum += price\n    end\n    sum\nend\n",
    wrong="def total\n  @prices.length + {n}\nend\n",
    broken="def total\n  @prices.sum(\nend\n",
    fault=".drop(1)",
)
