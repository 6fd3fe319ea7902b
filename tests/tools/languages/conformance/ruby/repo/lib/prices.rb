# frozen_string_literal: true

def rounded(price)
  price.round
end
