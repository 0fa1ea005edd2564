defmodule ElixirAxon.MixProject do
  use Mix.Project

  # Nx 0.13, not 1.0, because Axon 0.8.1 asks for nx ~> 0.10. Of EMLX 0.4.2 is the release for Nx 0.13.
  # Each backend downloads its own library: EXLA XLA, Torchx LibTorch, EMLX MLX. DEADHEAT_AXON_BACKENDS names those to get.
  @backends [exla: "~> 0.13.1", torchx: "~> 0.13.1", emlx: "~> 0.4.2"]

  # Everything that Mix makes lies outside this folder, whose content is what a run is recorded with.
  @home Path.expand("../../../.toolchains/elixir_axon", __DIR__)

  def project do
    [
      app: :elixir_axon,
      version: "0.1.0",
      elixir: "~> 1.17",
      # run.exs compiles the runner's own files, so that an edited one is never out of date.
      elixirc_paths: [],
      deps: deps(),
      deps_path: Path.join(@home, "deps"),
      build_path: Path.join(@home, "build"),
      lockfile: Path.join(@home, "mix.lock")
    ]
  end

  def application, do: [extra_applications: [:logger]]

  defp deps do
    [{:axon, "~> 0.8.1"}, {:nx, "~> 0.13.1"}, {:polaris, "~> 0.1.0"}] ++ Keyword.take(@backends, wanted())
  end

  defp wanted do
    names = String.split(System.get_env("DEADHEAT_AXON_BACKENDS", "exla"), ",")
    for name <- names, name = String.trim(name), name != "", do: backend!(name)
  end

  defp backend!(name) do
    known = Keyword.keys(@backends)

    Enum.find(known, &(to_string(&1) == name)) ||
      Mix.raise(
        "DEADHEAT_AXON_BACKENDS: got #{inspect(name)}; expected names of #{Enum.join(known, ", ")}, separated by " <>
          "commas. Correct the name."
      )
  end
end
