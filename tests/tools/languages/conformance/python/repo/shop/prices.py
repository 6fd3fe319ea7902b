def rounded(price):
    return round(price, 2)
