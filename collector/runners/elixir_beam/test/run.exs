# elixir run.exs: all tests of the runner and of what Elixir runners share. Writes into tmp/ of the current folder.
ExUnit.start()

runner = Path.expand("..", __DIR__)
sources = Path.wildcard(runner <> "/*.ex") ++ Path.wildcard(Path.expand("../_elixir/*.ex", runner))

# Doctests are read from compiled files; the compiler finds out itself which file needs which.
compiled = Path.expand("tmp/compiled")
File.mkdir_p!(compiled)
{:ok, _, warnings} = Kernel.ParallelCompiler.compile_to_path(sources, compiled)
Code.append_path(compiled)

if warnings != [] do
  IO.puts(:stderr, "the compiler warns of #{length(warnings)} places (above); expected none")
  System.halt(1)
end

for file <- __DIR__ |> Path.join("*_test.exs") |> Path.wildcard(), do: Code.require_file(file)
