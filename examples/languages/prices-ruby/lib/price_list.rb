# frozen_string_literal: true

# Prices of things, with a discount for many of one.
class PriceList
  DISCOUNT_FROM = 10

  def initialize(prices)
    @prices = prices
  end

  # What an order of {name => count} costs, in cents.
  def total(order)
    order.sum { |name, count| line(name, count) }
  end

  # Names that are not on the list.
  def unknown(order)
    order.keys.reject { |name| @prices.key?(name) }
  end

  private

  def line(name, count)
    full = @prices.fetch(name) * count
    discounted?(count) ? full * 90 / 100 : full
  end

  def discounted?(count)
    count > DISCOUNT_FROM
  end
end
