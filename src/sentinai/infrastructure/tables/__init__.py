"""Tables as queries see them; the migrations create them."""
