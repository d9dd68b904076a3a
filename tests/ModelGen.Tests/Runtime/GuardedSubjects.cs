using System.Collections;
using System.Reflection;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>Holds a call inside its plan (or wherever else it passes) for as long as a test wants.</summary>
internal sealed class Gate : IDisposable
{
    private readonly ManualResetEventSlim _held = new();
    private readonly ManualResetEventSlim _opened = new();
    private volatile bool _armed;

    public void Dispose()
    {
        _held.Dispose();
        _opened.Dispose();
    }

    /// <summary>The next call that passes is held.</summary>
    public void Arm()
    {
        _held.Reset();
        _opened.Reset();
        _armed = true;
    }

    public void AwaitHeld() => Assert.True(_held.Wait(TimeSpan.FromSeconds(60)), "The call never came to the gate.");

    public void Open() => _opened.Set();

    public void Pass()
    {
        if (_armed)
        {
            _armed = false;
            _held.Set();
            _opened.Wait();
        }
    }
}

/// <summary>
/// A session or trainer whose plan is hand-written (or a team of workers), and one call of each of its public methods. There are two callers, whose inputs
/// differ, so that a plan that meets a mixture of both can tell. Inputs and outputs are long: most of a call's time it copies.
/// </summary>
internal abstract class GuardedSubject : IDisposable
{
    private readonly Dictionary<string, Func<int, float[]>> _calls = new(StringComparer.Ordinal);
    private int _mixtures;
    private volatile bool _ended;

    protected GuardedSubject(Type type)
    {
        Type = type;
        PropertyInfo[] properties = type.GetProperties();
        _calls.Add("(properties)", _ =>
        {
            ObjectDisposedException.ThrowIf(_ended, this);
            foreach (PropertyInfo property in properties)
            {
                property.GetValue(Target);
            }

            return [];
        });
    }

    /// <summary>The public class under test.</summary>
    public Type Type { get; }

    public Gate Gate { get; } = new();

    /// <summary>The calls by method name: from the caller's number (0 or 1) to what came back.</summary>
    public IReadOnlyDictionary<string, Func<int, float[]>> Calls => _calls;

    /// <summary>The methods that pass the gate while they run.</summary>
    public abstract IReadOnlyList<string> Held { get; }

    /// <summary>How often a plan met inputs, or a context, that are not one caller's.</summary>
    public int Mixtures => Volatile.Read(ref _mixtures);

    protected abstract IDisposable Target { get; }

    public void Dispose()
    {
        Target.Dispose();
        Gate.Dispose();
        Clean();
        GC.SuppressFinalize(this);
    }

    public void DisposeTarget() => Target.Dispose();

    /// <summary>Properties can be read for ever; this ends a loop that does.</summary>
    public void EndProperties() => _ended = true;

    /// <summary>What shows whether any earlier call left traces.</summary>
    public abstract float[] Probe();

    protected virtual void Clean()
    {
    }

    protected void Add(string name, Func<int, float[]> call) => _calls.Add(name, call);

    protected void Require(bool right)
    {
        if (!right)
        {
            Interlocked.Increment(ref _mixtures);
        }
    }
}

internal sealed class GuardedCausalSession : GuardedSubject
{
    private const int Vocabulary = 300_000;
    private const int Chunk = 100_000;

    private readonly ModelWeights _weights = ModelWeights.Create(FakeModels.Table(), seed: 1);
    private readonly Session _session;

    public GuardedCausalSession(int threads)
        : base(typeof(CausalSession))
    {
        _session = new Session(_weights, threads, this);
        Add(nameof(CausalSession.Prefill), caller => Ends(_session.Prefill(Enumerable.Repeat(1 + caller, Count(caller)).ToArray())));
        Add(nameof(CausalSession.Decode), caller => Ends(_session.Decode(5 + caller)));
        Add(nameof(CausalSession.Reset), _ =>
        {
            _session.Reset();
            return [];
        });
        Add(nameof(CausalSession.Reorder), _ =>
        {
            _session.Reorder([0]);
            return [];
        });

        Add(nameof(CausalSession.DecodeGreedy), caller => [_session.DecodeGreedy(5 + caller)]);
        Add(nameof(CausalSession.Rewind), _ =>
        {
            _session.Rewind(0);
            return [];
        });
        SessionState empty = _session.Capture();
        Add(nameof(CausalSession.Capture), _ => [_session.Capture().Position]);
        Add(nameof(CausalSession.Restore), _ =>
        {
            _session.Restore(empty);
            return [];
        });
        Add(nameof(CausalSession.Verify), caller =>
        {
            try
            {
                _session.Verify([5 + caller], new float[Vocabulary]);
            }
            catch (InvalidOperationException exception) when (exception.Message.Contains("Drafts", StringComparison.Ordinal))
            {
                // The layout has no such entry point, which is found out inside of the section.
            }

            return [];
        });

        // Overloads.
        Add("Prefill, of a sequence", caller => Ends(_session.Prefill(0, Enumerable.Repeat(1 + caller, Count(caller)).ToArray())));
        Add("Decode, of all sequences", caller => Ends(_session.Decode([5 + caller])));
        Add("Reset, of a sequence", _ =>
        {
            _session.Reset(0);
            return [];
        });
    }

    public override IReadOnlyList<string> Held => [nameof(CausalSession.Prefill), nameof(CausalSession.Decode)];

    protected override IDisposable Target => _session;

    public override float[] Probe() => [_session.Position, .. Ends(_session.Decode(7)), .. Ends(_session.Prefill([1, 1, 1]))];

    // More than one chunk.
    private static int Count(int caller) => Chunk + 5000 + (100 * caller);

    private static float[] Ends(ReadOnlySpan<float> logits) => [logits[0], logits[^1]];

    private sealed unsafe class Session(ModelWeights weights, int threads, GuardedCausalSession subject)
        : CausalSession(weights, Layout, new SessionOptions { Threads = threads })
    {
        private static ProgramLayout Layout
            => FakeLayouts.Causal("Guarded", Chunk + Vocabulary, 1 << 18, Vocabulary, 0, Chunk, prefill: (0, Chunk), decode: (0, Chunk));

        protected override void Execute(int entry, in PlanContext context, Worker worker)
        {
            (int count, int position) = (context.Count, context.Position);
            if (worker.Index == 0)
            {
                subject.Gate.Pass();
                var tokens = new ReadOnlySpan<int>(context.Arena, count);
                int token = tokens[0];
                context.State[0] += (float)token * count;
                new Span<float>(context.Arena + Chunk, Vocabulary).Fill(context.State[0]);

                // Last, so that what came meanwhile shows.
                subject.Require(!tokens.ContainsAnyExcept(token) && count == context.Count && position == context.Position);
            }

            worker.Barrier();
        }
    }
}

internal sealed class GuardedFeedForwardSession : GuardedSubject
{
    private const int Width = 2000;
    private const int Rows = 50;

    private readonly ModelWeights _weights = ModelWeights.Create(FakeModels.Table(), seed: 1);
    private readonly Session _session;

    public GuardedFeedForwardSession(int threads)
        : base(typeof(FeedForwardSession))
    {
        _session = new Session(_weights, threads, this);
        Add(nameof(FeedForwardSession.Predict), caller => Predict(1 + caller));
        Add(nameof(FeedForwardSession.Reset), _ =>
        {
            _session.Reset();
            return [];
        });
    }

    public override IReadOnlyList<string> Held => [nameof(FeedForwardSession.Predict)];

    protected override IDisposable Target => _session;

    public override float[] Probe() => Predict(7);

    private float[] Predict(float value)
    {
        // Two blocks and a part.
        float[] inputs = new float[Width * Rows * 5 / 2];
        float[] outputs = new float[inputs.Length];
        inputs.AsSpan().Fill(value);
        _session.Predict(inputs, outputs);
        Require(!outputs.AsSpan().ContainsAnyExcept(value));
        return [outputs[0], outputs[^1]];
    }

    private sealed unsafe class Session(ModelWeights weights, int threads, GuardedFeedForwardSession subject)
        : FeedForwardSession(weights, Layout, new SessionOptions { Threads = threads })
    {
        private static ProgramLayout Layout => FakeLayouts.FeedForward("Guarded", 2 * Width * Rows, Width, Width, Rows, inputs: 0, outputs: Width * Rows);

        protected override void Execute(int entry, in PlanContext context, Worker worker)
        {
            int count = context.Count;
            if (worker.Index == 0)
            {
                subject.Gate.Pass();
                var inputs = new ReadOnlySpan<float>(context.Arena, count * Width);
                float input = inputs[0];
                inputs.CopyTo(new Span<float>(context.Arena + (Rows * Width), inputs.Length));
                subject.Require(!inputs.ContainsAnyExcept(input) && count == context.Count);
            }

            worker.Barrier();
        }
    }
}

/// <summary>A team by itself. Its workers add up what one caller's task is, which they all must meet; blocks of memory are no public class.</summary>
internal sealed class GuardedTeam : GuardedSubject
{
    private readonly WorkerTeam _team;
    private readonly Sum[] _sums;

    public GuardedTeam(int threads)
        : base(typeof(WorkerTeam))
    {
        _team = new WorkerTeam(threads, scratchBytesPerWorker: 64);
        _sums = [new Sum(this, 1), new Sum(this, 2), new Sum(this, 3)];
        Add(nameof(WorkerTeam.Run), caller => Run(_sums[caller]));
    }

    public override IReadOnlyList<string> Held => [nameof(WorkerTeam.Run)];

    protected override IDisposable Target => _team;

    public override float[] Probe() => Run(_sums[2]);

    private float[] Run(Sum sum)
    {
        _team.Run(sum);
        return [sum.Total];
    }

    private sealed class Sum(GuardedTeam subject, int value) : ITeamTask
    {
        private readonly int[] _parts = new int[16];

        public int Total { get; private set; }

        public unsafe void Execute(Worker worker)
        {
            // A worker's scratch is its own for as long as a task runs.
            int* scratch = (int*)worker.Scratch;
            *scratch = value;
            if (worker.Index == 0)
            {
                subject.Gate.Pass();
            }

            worker.Barrier();
            _parts[worker.Index] = *scratch;
            subject.Require(*scratch == value);
            worker.Barrier();
            if (worker.Index == 0)
            {
                Total = _parts.Sum();
                subject.Require(Total == value * subject._team.Count);
            }
        }
    }
}

/// <summary>The three kinds of trainer. A step's loss is what all its inputs are, if all its targets are one more.</summary>
internal sealed unsafe class GuardedTrainer : GuardedSubject
{
    private const int Batch = 40;
    private const int Length = 500;
    private const int Positions = Batch * Length;
    private const int Steps = 2;
    private const int Classes = 20;

    private readonly ModelWeights _weights = ModelWeights.Create(FakeModels.Table(wide: 200_000), seed: 1);
    private readonly TemporaryFile[] _files = [new(), new(), new()];
    private readonly Trainer _trainer;

    public GuardedTrainer(Type type, int threads)
        : base(type)
    {
        ProgramLayout layout = Layout(type);
        var options = new TrainerOptions { Threads = threads, AccumulationSteps = Steps };
        _trainer = type == typeof(TokenTrainer) ? new Tokens(_weights, layout, options, this)
            : type == typeof(ClassifierTrainer) ? new Classifier(_weights, layout, options, this)
            : new Regression(_weights, layout, options, this);
        Add("Step", caller => Checked(caller, Step(1 + caller)));
        Add("Evaluate", caller => Checked(caller, Evaluate(1 + caller)));
        Add(nameof(Trainer.Gradient), _ =>
        {
            // Read after the call, when the trainer may be gone.
            ReadOnlySpan<float> gradient = _trainer.Gradient("wide");
            Thread.Yield();
            return [gradient[0], gradient[^1]];
        });
        Add(nameof(Trainer.ResetState), _ => Nothing(_trainer.ResetState));
        Add(nameof(Trainer.ResetEvaluationState), _ => Nothing(_trainer.ResetEvaluationState));
        Add(nameof(Trainer.SaveCheckpoint), caller => Nothing(() => _trainer.SaveCheckpoint(_files[1 + caller].Path, new GatedMetadata(Gate))));
        Add(nameof(Trainer.LoadCheckpoint), _ => Nothing(() => _trainer.LoadCheckpoint(_files[0].Path)));
        _trainer.SaveCheckpoint(_files[0].Path);
    }

    public override IReadOnlyList<string> Held => ["Step", "Evaluate", nameof(Trainer.SaveCheckpoint)];

    protected override IDisposable Target => _trainer;

    public override float[] Probe() => [_trainer.StepCount, Evaluate(3), Step(4), .. _trainer.Gradient("wide")[..5]];

    protected override void Clean() => Array.ForEach(_files, static file => file.Dispose());

    private static ProgramLayout Layout(Type type) => FakeLayouts.Trainer(
        "Guarded", (3 * Positions) + 16, 1 << 16, Batch, Length, 1, 1, type == typeof(TokenTrainer) ? Classes : 0, type == typeof(RegressionTrainer) ? 0 : Classes,
        step: (0, Positions, 2 * Positions), evaluate: (0, Positions, 2 * Positions));

    private static float[] Nothing(Action action)
    {
        action();
        return [];
    }

    private float[] Checked(int caller, float loss)
    {
        Require(loss == 1 + caller);
        return [loss];
    }

    private float Step(int value) => _trainer switch
    {
        Tokens tokens => tokens.Step(Filled(value), Filled(value + 1)),
        Classifier classifier => classifier.Step(Filled((float)value), Filled(value + 1)),
        _ => ((Regression)_trainer).Step(Filled((float)value), Filled(value + 1f)),
    };

    private float Evaluate(int value) => _trainer switch
    {
        Tokens tokens => tokens.Evaluate(Filled(value), Filled(value + 1)),
        Classifier classifier => classifier.Evaluate(Filled((float)value), Filled(value + 1)),
        _ => ((Regression)_trainer).Evaluate(Filled((float)value), Filled(value + 1f)),
    };

    private static T[] Filled<T>(T value)
    {
        T[] filled = new T[Positions * Steps];
        filled.AsSpan().Fill(value);
        return filled;
    }

    private void Execute(in PlanContext context, Worker worker, bool integerInputs, bool integerTargets)
    {
        // A copy, to see whether the context changes underway.
        PlanContext before = context;
        if (worker.Index == 0)
        {
            Gate.Pass();
            float input = Common(context.Arena, integerInputs);
            Require(before.Seed == context.Seed && before.Gradients == context.Gradients && before.Accumulate == context.Accumulate);
            if (context.Gradients != null)
            {
                new Span<float>(context.Gradients, (int)_weights.Length).Fill(input + context.State[0]);
            }

            Require(Common(context.Arena, integerInputs) == input && Common(context.Arena + Positions, integerTargets) == input + 1);
            new Span<float>(context.Arena + (2 * Positions), context.Gradients == null ? Positions : 1).Fill(input);
            context.State[0] += 1;
        }

        worker.Barrier();
    }

    private float Common(float* start, bool integers)
    {
        var bits = new ReadOnlySpan<int>(start, Positions);
        Require(!bits.ContainsAnyExcept(bits[0]));
        return integers ? bits[0] : *start;
    }

    private static Sgd Optimizer => new() { LearningRate = 0 };

    private sealed class Tokens(ModelWeights weights, ProgramLayout layout, TrainerOptions options, GuardedTrainer subject)
        : TokenTrainer(weights, layout, GuardedTrainer.Optimizer, options)
    {
        protected override void Execute(int entry, in PlanContext context, Worker worker) => subject.Execute(in context, worker, true, true);
    }

    private sealed class Classifier(ModelWeights weights, ProgramLayout layout, TrainerOptions options, GuardedTrainer subject)
        : ClassifierTrainer(weights, layout, GuardedTrainer.Optimizer, options)
    {
        protected override void Execute(int entry, in PlanContext context, Worker worker) => subject.Execute(in context, worker, false, true);
    }

    private sealed class Regression(ModelWeights weights, ProgramLayout layout, TrainerOptions options, GuardedTrainer subject)
        : RegressionTrainer(weights, layout, GuardedTrainer.Optimizer, options)
    {
        protected override void Execute(int entry, in PlanContext context, Worker worker) => subject.Execute(in context, worker, false, false);
    }

    /// <summary>A caller's metadata, which is read while a checkpoint is being saved.</summary>
    private sealed class GatedMetadata(Gate gate) : IReadOnlyDictionary<string, string>
    {
        public int Count => 0;

        public IEnumerable<string> Keys => [];

        public IEnumerable<string> Values => [];

        public string this[string key] => throw new KeyNotFoundException();

        public bool ContainsKey(string key) => false;

        public bool TryGetValue(string key, out string value)
        {
            value = "";
            return false;
        }

        public IEnumerator<KeyValuePair<string, string>> GetEnumerator()
        {
            gate.Pass();
            return Enumerable.Empty<KeyValuePair<string, string>>().GetEnumerator();
        }

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    }
}
