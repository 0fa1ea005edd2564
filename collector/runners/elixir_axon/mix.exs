defmodule ElixirAxon.MixProject do
  use Mix.Project

  # Each backend downloads its own library: EXLA XLA, Torchx LibTorch, EMLX MLX. DEADHEAT_AXON_BACKENDS names those to get.
  @backends [exla: "~> 0.13.1", torchx: "~> 0.13.1", emlx: "~> 0.4.0"]

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
    "DEADHEAT_AXON_BACKENDS"
    |> System.get_env("exla")
    |> String.split(",", trim: true)
    |> Enum.map(&String.to_existing_atom/1)
  end
end
