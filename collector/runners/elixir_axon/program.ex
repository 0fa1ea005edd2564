defmodule ElixirAxon.Program do
  @moduledoc """
  The whole run on one screen: what each phase does, and the event that ends it.
  """

  alias Deadheat.{Events, Gc, Npy, Schedule, Trial}
  alias ElixirAxon.{Backend, Data, Gate, Layout, Model, Train, Trainer}

  @doc "Does the trial, from the loaded framework on."
  @spec run(Trial.t(), Events.t()) :: :ok
  def run(trial, events) do
    case Backend.obstacle(trial) || Model.obstacle(trial) do
      nil -> run_on(Backend.start!(trial), trial, events)
      message -> Events.write(events, :unsupported, message: message)
    end
  end

  @doc "The versions that `--describe` prints beside those of the language."
  @spec describe() :: keyword
  def describe do
    # Asking for devices loads the native library: a backend that does not start here is left out, with the reason.
    {devices, failed} =
      Enum.reduce(Backend.built(), {[], []}, fn app, {devices, failed} ->
        case devices(app) do
          {:ok, found} -> {[found | devices], failed}
          {:error, reason} -> {devices, [{:"#{app}_fails", reason} | failed]}
        end
      end)

    if devices == [], do: raise("no backend of Nx starts here: #{inspect(failed)}")
    apps = for app <- [:nx, :polaris | Backend.built()], do: {app, version(app)}

    told = [framework: "Axon", framework_version: version(:axon), devices: devices |> Enum.concat() |> Enum.uniq()]
    told ++ apps ++ Backend.libraries() ++ failed
  end

  defp run_on(backend, trial, events) do
    Gc.start()
    compile_s = count_compilation()
    Events.write(events, :import_stop)

    {train, test} = {Data.read!(trial, "train"), Data.read!(trial, "test")}
    %Npy{shape: [_, examples]} = order = Npy.read!(Trial.text!(trial, "order"))
    arrays = Layout.read!(Trial.text!(trial, "weights"))
    Events.write(events, :load_stop)

    case Schedule.uncut(trial, examples) do
      nil ->
        data = Data.place(trial, train, test, Backend.channels(trial))
        Backend.synchronise(data.images |> Nx.flatten() |> Nx.take(0), Data.all(data))
        Events.write(events, :preprocess_stop)

        work(trial, data, order, Map.new(arrays, fn {name, array} -> {name, Layout.tensor(array)} end), events)
        |> finish(backend, compile_s, events)

      message ->
        Events.write(events, :unsupported, message: message)
    end
  end

  defp work(trial, data, order, weights, events) do
    build = &Trainer.new(&1, data, weights, &2)

    if Trial.text!(trial, "mode") == "gate" do
      trainer = build.(trial, Trial.float!(trial, "gate.dropout_rate"))
      Events.write(events, :build_stop, parameters: Trainer.parameters(trainer))
      Gate.run(trial, trainer, build, order, weights)
      :finished
    else
      trainer = build.(trial, Trial.float!(trial, "model.dropout_rate"))
      Events.write(events, :build_stop, parameters: Trainer.parameters(trainer))
      Train.run(trainer, order, events)
    end
  end

  defp finish(:diverged, _, _, _), do: :ok

  defp finish(:finished, backend, compile_s, events) do
    # Schedulers only drive: with how many threads the backend computes, none of them tells.
    facts = [flushes_subnormals: backend.flushes_subnormals, gc_s: Gc.seconds()]
    known = Enum.reject(facts, fn {_, value} -> value == nil end)
    Events.write(events, :run_stop, known ++ compile_s.())
  end

  @doc false
  def add_compilation(_, %{total_time: microseconds}, _, counter), do: :counters.add(counter, 1, microseconds)

  # EXLA tells of each compilation; the others do not.
  defp count_compilation do
    counter = :counters.new(1, [])

    :telemetry.attach(__MODULE__, [:exla, :compilation], &__MODULE__.add_compilation/4, counter)

    fn ->
      case :counters.get(counter, 1) do
        0 -> []
        microseconds -> [compile_s: microseconds / 1.0e6]
      end
    end
  end

  defp devices(app) do
    {:ok, _} = Application.ensure_all_started([:nx, app])
    {:ok, Backend.devices(app)}
  rescue
    error -> {:error, Exception.message(error)}
  end

  defp version(app) do
    _ = Application.load(app)
    to_string(Application.spec(app, :vsn))
  end
end
