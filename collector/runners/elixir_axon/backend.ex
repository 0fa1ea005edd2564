defmodule ElixirAxon.Backend do
  @moduledoc """
  Where tensors live and who compiles `defn`: one backend of Nx for each variant.

  A backend alone does not compile: EXLA and EMLX must also be named as the compiler, or every `defn` is interpreted.
  Torchx has no compiler; `Nx.Defn.Evaluator` walks the expression and calls LibTorch once per operation.
  """

  alias Deadheat.Trial

  # Any of them may be left out of the build.
  @compile {:no_warn_undefined, [EMLX, EXLA.Client, Torchx]}

  @enforce_keys [:app, :module, :device, :compiler, :flushes_subnormals]
  defstruct @enforce_keys

  @typedoc "What a trial computes with; whether it flushes subnormals is nil where nobody knows."
  @type t :: %__MODULE__{
          app: atom,
          module: module,
          device: atom,
          compiler: keyword,
          flushes_subnormals: boolean | nil
        }

  @apps %{"exla" => :exla, "torchx" => :torchx, "emlx" => :emlx}
  @devices %{exla: ["cpu", "cuda"], torchx: ["cpu", "cuda"], emlx: ["cpu"]}

  @doc "Why the trial's variant or device cannot be had here, or nil."
  @spec obstacle(Trial.t()) :: String.t() | nil
  def obstacle(trial) do
    {app, device} = {app(trial), Trial.text!(trial, "device")}
    cannot(app, device, trial) || missing(app, device, trial)
  end

  defp cannot(app, device, trial) do
    cond do
      device not in @devices[app] ->
        "device is #{device}; #{app} knows #{Enum.join(@devices[app], ", ")}"

      app == :torchx and trial["model.stem"] == "imagenet" ->
        "model.stem is imagenet; Torchx has no gradient of its padded max-pool"

      app == :torchx and device == "cuda" and trial["model"] != "mlp" ->
        "device is cuda; Torchx cannot switch off TensorFloat-32, in which LibTorch convolves there, for dtype fp32"

      true ->
        nil
    end
  end

  defp missing(app, device, trial) do
    cond do
      not built?(app) ->
        "variant is #{trial["variant"]}; #{app} is not among the packages that mix.exs got. Get it: " <>
          "DEADHEAT_AXON_BACKENDS=#{Enum.join(Enum.uniq(built() ++ [app]), ",")} deadheat setup elixir"

      device not in devices(app) ->
        "device is #{device}; #{app} finds #{Enum.join(devices(app), ", ")} here"

      true ->
        nil
    end
  end

  @doc "Starts the backend of the trial's variant and makes it the default of every process."
  @spec start!(Trial.t()) :: t
  def start!(trial) do
    backend = backend(app(trial), Trial.text!(trial, "device"), Trial.text!(trial, "dtype"))
    prepare(backend.app)
    {:ok, _} = Application.ensure_all_started([:nx, backend.app])
    Nx.global_default_backend({backend.module, [{client_or_device(backend.app), backend.device}]})
    Nx.Defn.global_default_options(backend.compiler)
    backend
  end

  # Otherwise XLA takes 90 % of a GPU's memory at once, and what a model needs could not be seen. Other clients stay.
  defp prepare(:exla) do
    _ = Application.load(:exla)
    clients = Application.fetch_env!(:exla, :clients)
    Application.put_env(:exla, :clients, Keyword.replace(clients, :cuda, platform: :cuda, preallocate: false))
  end

  # MLX fuses operations with a compiler that it finds and calls only where a child's end is told; the BEAM ignores it.
  defp prepare(:emlx), do: :os.set_signal(:sigchld, :default)
  defp prepare(:torchx), do: :ok

  @doc "Whether the variant trains with `Axon.Loop`; the others call a `defn` step."
  @spec loop?(Trial.t()) :: boolean
  def loop?(trial), do: trial |> Trial.text!("variant") |> String.ends_with?("_loop")

  @doc """
  Where channels stand: last, as Axon's layers have it by default and MLX's and XLA's kernels like it; first for
  LibTorch, whose own layout that is: otherwise Torchx transposes around every convolution.
  """
  @spec channels(Trial.t()) :: :first | :last
  def channels(trial), do: if(app(trial) == :torchx, do: :first, else: :last)

  @doc """
  How a 2 × 2 max-pool is computed: with Nx's windows, but on Torchx 0.13 as the maximum of a reshaped tensor: there the
  gradient of `Nx.window_max/3` gathers indices as floats, which Nx then refuses.
  """
  @spec pool(Trial.t()) :: :window | :reshape
  def pool(trial), do: if(app(trial) == :torchx, do: :reshape, else: :window)

  @doc "Returns when everything given to the device is done: `scalar`, and all tensors of the container `others`."
  @spec synchronise(Nx.Tensor.t(), Nx.Container.t()) :: :ok
  def synchronise(scalar, others \\ {}) do
    for tensor <- Nx.Defn.Composite.flatten_list([others]), do: compute(tensor)
    # EXLA returns from a compiled call when its outputs are there. On a GPU LibTorch queues: reading a number waits for
    # all that was queued before it.
    _ = Nx.to_number(scalar)
    :ok
  end

  @doc "Has the device compute a tensor that nobody reads. MLX is lazy: it computes what is asked for, and only then."
  @spec compute(Nx.Tensor.t()) :: :ok
  def compute(%Nx.Tensor{data: %{__struct__: EMLX.Backend, ref: ref}}), do: EMLX.eval(ref)
  def compute(%Nx.Tensor{}), do: :ok

  @doc "The backends that were built, by name."
  @spec built() :: [atom]
  def built, do: Enum.filter(Map.values(@apps), &built?/1)

  @doc "The versions of the libraries that the backends call, as far as files of the build tell them."
  @spec libraries() :: [{atom, String.t()}]
  def libraries, do: Enum.flat_map(built(), &library/1)

  @doc "The devices that `app` finds on this machine."
  @spec devices(atom) :: [String.t()]
  def devices(:emlx), do: ["cpu"]

  # XLA counts the devices of each platform that it was built for.
  def devices(:exla),
    do: ["cpu" | if(match?(%{cuda: n} when n > 0, EXLA.Client.get_supported_platforms()), do: ["cuda"], else: [])]

  def devices(:torchx), do: ["cpu" | if(Torchx.device_available?(:cuda), do: ["cuda"], else: [])]

  defp app(trial) do
    [name | _] = trial |> Trial.text!("variant") |> String.split("_")
    Map.fetch!(@apps, name)
  end

  defp built?(app), do: Application.load(app) in [:ok, {:error, {:already_loaded, app}}]

  # XLA itself has no version; the package that downloads it stands for it.
  defp library(:exla) do
    _ = Application.load(:xla)

    case Application.spec(:xla, :vsn) do
      nil -> []
      version -> [{:xla, to_string(version)}]
    end
  end

  defp library(:torchx) do
    # priv/libtorch is a link to the folder of LibTorch's libraries.
    told = "libtorch/../share/cmake/Torch/TorchConfigVersion.cmake"
    library_version(:torchx, :libtorch, told, ~r/PACKAGE_VERSION "([\d.]+)"/)
  end

  defp library(:emlx),
    do: library_version(:emlx, :mlx, "mlx/include/mlx/version.h", ~r/MLX_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)/)

  defp library_version(app, name, file, numbers) do
    with {:ok, text} <- File.read("#{:code.priv_dir(app)}/#{file}"),
         [_ | _] = found <- Regex.scan(numbers, text, capture: :all_but_first) do
      [{name, Enum.join(found, ".")}]
    else
      _ -> []
    end
  end

  defp client_or_device(:exla), do: :client
  defp client_or_device(_), do: :device

  defp backend(:exla, device, dtype) do
    client = if device == "cuda", do: :cuda, else: :host
    # On a GPU XLA's own default is TensorFloat-32.
    precision = if dtype == "fp32", do: :highest, else: :high
    compiler = [compiler: EXLA, client: client, precision: precision]
    flushes = if client == :host, do: true
    %__MODULE__{app: :exla, module: EXLA.Backend, device: client, compiler: compiler, flushes_subnormals: flushes}
  end

  defp backend(:torchx, device, _) do
    compiler = [compiler: Nx.Defn.Evaluator]
    flushes = if device == "cpu", do: false
    device = String.to_existing_atom(device)
    %__MODULE__{app: :torchx, module: Torchx.Backend, device: device, compiler: compiler, flushes_subnormals: flushes}
  end

  defp backend(:emlx, "cpu", _) do
    compiler = [compiler: EMLX, device: :cpu]
    %__MODULE__{app: :emlx, module: EMLX.Backend, device: :cpu, compiler: compiler, flushes_subnormals: false}
  end
end
