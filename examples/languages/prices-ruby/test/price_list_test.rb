# frozen_string_literal: true

require "minitest/autorun"
require "price_list"

class PriceListTest < Minitest::Test
  def setup
    @list = PriceList.new("nail" => 10, "board" => 250)
  end

  def test_few_cost_the_full_price
    assert_equal 540, @list.total("nail" => 4, "board" => 2)
  end

  def test_ten_of_one_are_discounted
    assert_equal 90, @list.total("nail" => 10)
  end

  def test_unknown_names
    assert_equal ["screw"], @list.unknown("nail" => 1, "screw" => 2)
  end
end
