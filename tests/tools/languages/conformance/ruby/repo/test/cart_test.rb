require "minitest/autorun"
require "cart"

class CartTest < Minitest::Test
  def setup
    @cart = Shop::Cart.new([1, 2])
  end

  def test_total
    assert_equal 6, @cart.total(2)
  end

  def test_empty
    refute @cart.empty?
  end
end
