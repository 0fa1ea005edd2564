[
  inputs: ["*.{ex,exs}", "test/*.exs", "../_elixir/*.ex"],
  line_length: 120,
  locals_without_parens: [defeach: 2, defdots: 2, deflookup: 1]
]
