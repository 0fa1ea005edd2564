[
  inputs: ["*.{ex,exs}", "test/*.exs", "test/axon/*.exs", "../_elixir/*.ex"],
  line_length: 120,
  locals_without_parens: [defn: 2, defnp: 2, deftransform: 2, deftransformp: 2]
]
