using BenchmarkDotNet.Attributes;

namespace ModelGen.Benchmarks;

/// <summary>Whole training steps and decoding steps, on every processor.</summary>
[InProcess]
[WarmupCount(2)]
[IterationCount(8)]
[MemoryDiagnoser]
public class StepBenchmarks
{
    private readonly float[] _realInputs = [0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f, -0.1f, -0.2f, -0.3f, -0.4f, 0.4f, 0.3f, 0.2f, 0.1f];
    private readonly float[] _realTargets = [0.5f, 1f, -0.5f, 0.25f];
    private int[] _inputs = [];
    private int[] _targets = [];
    private TokenTrainer? _trainer;
    private RegressionTrainer? _regression;
    private CausalSession? _session;

    /// <summary>Prepares <see cref="Gpt2_step"/>.</summary>
    [GlobalSetup(Target = nameof(Gpt2_step))]
    public void SetupGpt2() => Use(Gpt2.Create(1).CreateTrainer(new AdamW()));

    /// <summary>GPT-2 124M, batch 4 × 64 tokens.</summary>
    [Benchmark]
    public float Gpt2_step() => _trainer!.Step(_inputs, _targets);

    /// <summary>Prepares <see cref="CharGpt_step"/>.</summary>
    [GlobalSetup(Target = nameof(CharGpt_step))]
    public void SetupCharGpt() => Use(CharGpt.Create(1).CreateTrainer(new AdamW()));

    /// <summary>The 0.8M-parameter GPT, batch 12 × 64 bytes.</summary>
    [Benchmark]
    public float CharGpt_step() => _trainer!.Step(_inputs, _targets);

    /// <summary>Prepares <see cref="Attention_step"/>.</summary>
    [GlobalSetup(Target = nameof(Attention_step))]
    public void SetupAttention() => Use(Attention1024.Create(1).CreateTrainer(new AdamW()));

    /// <summary>One layer whose attention, over 1,024 positions, is most of the work.</summary>
    [Benchmark]
    public float Attention_step() => _trainer!.Step(_inputs, _targets);

    /// <summary>Prepares <see cref="WordLstm_step"/>.</summary>
    [GlobalSetup(Target = nameof(WordLstm_step))]
    public void SetupWordLstm() => Use(WordLstm.Create(1).CreateTrainer(new AdamW()));

    /// <summary>The 2-layer LSTM language model, batch 32 × 35 tokens.</summary>
    [Benchmark]
    public float WordLstm_step() => _trainer!.Step(_inputs, _targets);

    /// <summary>Prepares <see cref="TinyMlp_step"/>.</summary>
    [GlobalSetup(Target = nameof(TinyMlp_step))]
    public void SetupTinyMlp() => _regression = TinyMlp.Create(1).CreateTrainer(new AdamW { WeightDecay = 0 }, new TrainerOptions { Threads = 1 });

    /// <summary>The 4→2→1 network, batch 4, one thread.</summary>
    [Benchmark]
    public float TinyMlp_step() => _regression!.Step(_realInputs, _realTargets);

    /// <summary>Prepares <see cref="Gpt2_decode"/>.</summary>
    [GlobalSetup(Target = nameof(Gpt2_decode))]
    public void SetupGpt2Decode() => _session = Gpt2.Create(1).CreateSession();

    /// <summary>One token of GPT-2 124M, its cache filling up and starting over.</summary>
    [Benchmark]
    public float Gpt2_decode() => Decode();

    /// <summary>Prepares <see cref="Gpt260K_decode"/>.</summary>
    [GlobalSetup(Target = nameof(Gpt260K_decode))]
    public void SetupGpt260KDecode() => _session = Gpt260K.Create(1).CreateSession(new SessionOptions { Threads = 1 });

    /// <summary>One token of a model of stories260K's shape, one thread.</summary>
    [Benchmark]
    public float Gpt260K_decode() => Decode();

    /// <summary>Frees what the benchmark used.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        _trainer?.Dispose();
        _regression?.Dispose();
        _session?.Dispose();
    }

    private void Use(TokenTrainer trainer)
    {
        _trainer = trainer;
        _inputs = [.. Enumerable.Range(0, trainer.BatchSize * trainer.SequenceLength).Select(i => i * 31 % trainer.VocabularySize)];
        _targets = [.. _inputs.Select(i => (i + 31) % trainer.VocabularySize)];
    }

    private float Decode()
    {
        if (_session!.Position == 256)
        {
            _session.Reset();
        }

        return _session.Decode(1)[0];
    }
}
