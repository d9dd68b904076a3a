using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>Which bit came first, said at the end, by a plain recurrent network.</summary>
[RecurrentTagger(Cell = Cell.Rnn, Hidden = 32, Embedding = 16, Vocab = 2 * GradientsRow.Steps, Tags = 2, Bidirectional = false, Context = GradientsRow.Steps)]
[Trainable(BatchSize = 32, SequenceLength = GradientsRow.Steps)]
public partial class RecallingRnn;

/// <summary>The same by a long short-term memory.</summary>
[RecurrentTagger(Cell = Cell.Lstm, Hidden = 32, Embedding = 16, Vocab = 2 * GradientsRow.Steps, Tags = 2, Bidirectional = false, Context = GradientsRow.Steps)]
[Trainable(BatchSize = 32, SequenceLength = GradientsRow.Steps)]
public partial class RecallingLstm;

/// <summary>
/// How gradients vanish and explode through time (Bengio, Simard, Frasconi, 1994; Pascanu, Mikolov, Bengio, 2013). Each time step has token ids of its own, two of them, so that the gradient of
/// those rows of the embedding is the gradient with respect to that step's input; only the last step has a target.
/// </summary>
internal sealed class GradientsRow : ZooRow
{
    /// <summary>The time steps of a sequence.</summary>
    public const int Steps = 60;

    private const int Batch = 32;
    private const int Embedding = 16;
    private const int Hidden = 32;

    private readonly int[] _tokens = new int[Batch * Steps];
    private readonly int[] _lengths = [.. Enumerable.Repeat(Steps, Batch)];
    private readonly int[] _targets = new int[Batch * Steps];

    public override string Name => "gradients";

    public override string Family => "RecurrentTagger";

    public override string Description => "Gradients through 60 time steps, of a plain recurrent network and of an LSTM that both are to say at the end which bit came first; and clipping of those that explode.";

    public override RowOutcome Run(RowContext context)
    {
        RecallingRnn rnn = RecallingRnn.Create(context.Seed);
        RecallingLstm lstm = RecallingLstm.Create(context.Seed);

        // An LSTM forgets half in each step unless it is told not to (Gers et al., 2000; Jozefowicz et al., 2015): rows i, f, g, o.
        lstm.Parameter("rnn.bias_ih_l0").Slice(Hidden, Hidden).Fill(3);

        double[] ofRnn, ofLstm;
        Draw(new CounterRandom((ulong)context.Seed, 1));
        using (RecallingRnn.Trainer trainer = rnn.CreateTrainer(new Sgd { LearningRate = 0 }))
        {
            trainer.Step(_tokens, _lengths, _targets);
            ofRnn = Norms(trainer);
        }
        using (RecallingLstm.Trainer trainer = lstm.CreateTrainer(new Sgd { LearningRate = 0 }))
        {
            trainer.Step(_tokens, _lengths, _targets);
            ofLstm = Norms(trainer);
        }

        var random = new CounterRandom((ulong)context.Seed, 2);
        double rnnLoss, lstmLoss;
        using (RecallingRnn.Trainer trainer = rnn.CreateTrainer(new AdamW { LearningRate = 3e-3f, GradientClip = 1 }))
        {
            rnnLoss = context.Train("plain recurrent network", 600, "sequences", Batch, _ =>
            {
                Draw(ref random);
                return trainer.Step(_tokens, _lengths, _targets);
            }, trainer);
        }
        using (RecallingLstm.Trainer trainer = lstm.CreateTrainer(new AdamW { LearningRate = 3e-3f, GradientClip = 1 }))
        {
            lstmLoss = context.Train("LSTM", 600, "sequences", Batch, _ =>
            {
                Draw(ref random);
                return trainer.Step(_tokens, _lengths, _targets);
            }, trainer);
        }
        context.Figures(("loss of the plain network after training (a guess: 0.693)", rnnLoss.ToString("0.000", System.Globalization.CultureInfo.InvariantCulture)));

        (double before, double moved) = Clip(context.Seed);
        context.Figures(
            ("norm of an exploding gradient", before.ToString("0.##", System.Globalization.CultureInfo.InvariantCulture)),
            ("length of the step that it becomes with clipping at 1", moved.ToString("0.####", System.Globalization.CultureInfo.InvariantCulture)));
        if (context.Plot("gradients") is { } path)
        {
            double[] distances = [.. Enumerable.Range(0, Steps).Select(d => (double)d)];
            Pictures.GradientNorms("How far back a gradient reaches", [new Line("plain recurrent network", distances, ofRnn), new Line("LSTM", distances, ofLstm)]).SaveBoth(path);
        }
        return new RowOutcome(
            RecallingLstm.ParameterCount,
            new Figure("LSTM: the gradient's norm 59 steps back, relative to the last step's", ofLstm[^1] / ofLstm[0], 0.01),
            new Figure("plain network: the same", ofRnn[^1] / ofRnn[0], 1e-6, LowerIsBetter: true),
            new Figure("LSTM: loss after training", lstmLoss, 0.1, LowerIsBetter: true),
            new Figure("exploding gradient: norm", before, 10),
            new Figure("the step that it becomes, clipped at 1", moved, 1.001, LowerIsBetter: true));
    }

    private void Draw(CounterRandom random) => Draw(ref random);

    private void Draw(ref CounterRandom random)
    {
        _targets.AsSpan().Fill(-1);
        for (int row = 0; row < Batch; row++)
        {
            int first = 0;
            for (int t = 0; t < Steps; t++)
            {
                int bit = random.NextInt32(2);
                first = t == 0 ? bit : first;
                _tokens[(row * Steps) + t] = (2 * t) + bit;
            }
            _targets[(row * Steps) + Steps - 1] = first;
        }
    }

    /// <summary>The norm of the gradient with respect to each step's input, from the last step backwards.</summary>
    private static double[] Norms(Trainer trainer)
    {
        ReadOnlySpan<float> rows = trainer.Gradient("embedding.weight");
        var norms = new double[Steps];
        for (int t = 0; t < Steps; t++)
        {
            double sum = 0;
            foreach (float x in rows.Slice(2 * t * Embedding, 2 * Embedding))
                sum += (double)x * x;
            norms[Steps - 1 - t] = Math.Sqrt(sum);
        }
        return norms;
    }

    /// <summary>A plain network whose state grows backwards in time: the norm of its gradient, and how far a step of rate 1 moves its weights where it is clipped at 1.</summary>
    private (double Norm, double Moved) Clip(int seed)
    {
        RecallingRnn model = RecallingRnn.Create(seed);

        // Near zero tanh is the identity, and the state's map is a rotation that stretches by a fifth.
        foreach (ParameterInfo parameter in RecallingRnn.Parameters)
        {
            Span<float> values = model.Parameter(parameter.Name);
            if (parameter.Name == "rnn.weight_hh_l0")
            {
                values.Clear();
                for (int i = 0; i < Hidden; i++)
                    values[(i * Hidden) + ((i + 1) % Hidden)] = 1.2f;
            }
            else if (parameter.Name is "embedding.weight" or "rnn.bias_ih_l0" or "rnn.bias_hh_l0")
            {
                for (int i = 0; i < values.Length; i++)
                    values[i] *= 1e-6f;
            }
        }
        float[] Weights() => [.. RecallingRnn.Parameters.SelectMany(p => model.Parameter(p.Name).ToArray())];
        float[] before = Weights();
        using RecallingRnn.Trainer trainer = model.CreateTrainer(new Sgd { LearningRate = 1, GradientClip = 1 });
        Draw(new CounterRandom((ulong)seed, 3));
        trainer.Step(_tokens, _lengths, _targets);
        double moved = Math.Sqrt(Weights().Zip(before, (a, b) => Math.Pow((double)a - b, 2)).Sum());
        return (trainer.GradientNorm, moved);
    }
}
