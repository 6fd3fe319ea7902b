# frozen_string_literal: true

require_relative "prices"

module Shop
  RATE = 2

  # Items with their prices.
  class Cart
    attr_reader :prices

    def initialize(prices)
      @prices = prices
    end

    # The sum of the prices.
    def total(by)
      sum = 0
      @prices.each do |price|
        sum += price * by
      end
      rounded(sum)
    end

    def empty? = @prices.empty?
  end
end
