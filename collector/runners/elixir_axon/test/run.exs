# elixir run.exs: all tests of the runner. Writes into tmp/ of the current folder.
# What needs no framework always runs; what needs Axon is left out, and said so, where Axon is not built.
ExUnit.start()

runner = Path.expand("..", __DIR__)
build = System.get_env("MIX_BUILD_PATH") || Path.expand("../../../.toolchains/elixir_axon/build", runner)
for place <- [build, build <> "/prod"], path <- Path.wildcard(place <> "/lib/*/ebin"), do: Code.append_path(path)
axon? = Version.match?(System.version(), "~> 1.17") and Code.ensure_loaded?(Axon)

shared = Path.wildcard(Path.expand("../_elixir/*.ex", runner))
own = if axon?, do: Path.wildcard(runner <> "/*.ex"), else: [runner <> "/setup.ex"]

# Doctests are read from compiled files; the compiler finds out itself which file needs which.
compiled = Path.expand("tmp/compiled")
File.mkdir_p!(compiled)
Code.append_path(compiled)
{:ok, _, warnings} = Kernel.ParallelCompiler.compile_to_path(shared ++ own, compiled)

if warnings != [] do
  IO.puts(:stderr, "the compiler warns of #{length(warnings)} places (above); expected none")
  System.halt(1)
end

tests = __DIR__ |> Path.join("*_test.exs") |> Path.wildcard()
with_axon = __DIR__ |> Path.join("axon/*_test.exs") |> Path.wildcard()
if axon?, do: {:ok, _} = Application.ensure_all_started(:nx)
unless axon?, do: IO.puts("without Axon: #{length(with_axon)} files of tests left out")
for file <- tests ++ if(axon?, do: with_axon, else: []), do: Code.require_file(file)
