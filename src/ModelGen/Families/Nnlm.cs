using System;
using System.Collections.Generic;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class Nnlm : IFamily
{
    public string Name => "Nnlm";

    public string AttributeMetadataName => "ModelGen.NnlmAttribute";

    public bool HasSequence => false;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        NnlmOptions options = NnlmOptions.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        bool windowHolds = checks.RequireSize("Window");
        bool embeddingHolds = checks.RequireSize("Embedding");
        bool hiddenHolds = checks.RequireSize("Hidden");
        bool vocabHolds = checks.RequireSize("Vocab");
        if (windowHolds && embeddingHolds && hiddenHolds && vocabHolds)
        {
            // Real numbers, since as integers the products could overflow.
            double inputs = (double)options.Window * options.Embedding, vocabulary = options.Vocabulary;
            double widest = Math.Max(inputs, Math.Max(options.Hidden, vocabulary));
            double largest = Math.Max(Math.Max(vocabulary * options.Embedding, options.Hidden * inputs), Math.Max(vocabulary * options.Hidden, options.DirectConnections ? vocabulary * inputs : 0));
            checks.ModelSize(spec, largest, inferred: CommonPrograms.LargestChunk * widest, widest);
        }
    }

    public ModelProgram Describe(ModelSpec spec)
    {
        NnlmOptions options = NnlmOptions.Of(spec);
        Dim batch = Dim.Batch(spec.Training?.BatchSize ?? 1);
        var window = new Input("window", TensorType.Int(Shape.Of(batch, Math.Max(1, options.Window))), options.Vocabulary);
        var targets = new Input("targets", TensorType.Int(Shape.Of(batch)), options.Vocabulary) { MayBeIgnored = true };
        var entries = new List<EntryPoint>
        {
            new("Predict", EntryKind.Infer, [window], ["logits"], CommonPrograms.Once(() => Build(options, window, null))) { Batch = Dim.Batch(CommonPrograms.LargestChunk) },
        };
        if (spec.Training is { } training)
        {
            entries.AddRange(CommonPrograms.Training(training, [window, targets], CommonPrograms.Once(() => Build(options, window, targets))));
        }

        return new ModelProgram(ProgramAdapter.None, entries) { Training = spec.Training, Files = Files(options) };
    }

    private static FileConventions Files(NnlmOptions options) => new(
    [
        FileOption.Of("Window", options.Window),
        FileOption.Of("Embedding", options.Embedding),
        FileOption.Of("Hidden", options.Hidden),
        FileOption.Of("Vocab", options.Vocabulary),
        FileOption.Of("DirectConnections", options.DirectConnections),
    ]);

    /// <summary>Bengio et al. 2003, equation 1: y = b + Wx + U tanh(d + Hx), where x is the words' rows of C beside each other.</summary>
    private static ModelGraph Build(NnlmOptions options, Input window, Input? wanted)
    {
        (int inputs, int hidden, int vocabulary) = (options.Window * options.Embedding, options.Hidden, options.Vocabulary);
        Initializer fromInputs = Initializer.Uniform(1 / Math.Sqrt(inputs));
        var b = new GraphBuilder();
        Value words = b.Add(new Embedding(), "embeddings", b.Parameter("C", Shape.Of(vocabulary, options.Embedding), Initializer.Normal(0.1)), b.Add(window, window.InputName));
        Value x = b.Add(new Reshape(Shape.Of(words.Shape[0], inputs)), "x", words);
        Value sums = b.Add(new Add(), "hidden.sums", b.Add(new MatMul(MatMulForm.NT), "Hx", x, b.Parameter("H", Shape.Of(hidden, inputs), fromInputs)), b.Parameter("d", Shape.Of(hidden), Initializer.Zeros));
        Value activations = b.Add(new Tanh(), "hidden", sums);
        Value y = b.Add(new MatMul(MatMulForm.NT), "Ua", activations, b.Parameter("U", Shape.Of(vocabulary, hidden), Initializer.Uniform(1 / Math.Sqrt(hidden))));
        y = b.Add(new Add(), "y.hidden", y, b.Parameter("b", Shape.Of(vocabulary), Initializer.Zeros));
        if (options.DirectConnections)
        {
            y = b.Add(new Add(), "y", y, b.Add(new MatMul(MatMulForm.NT), "Wx", x, b.Parameter("W", Shape.Of(vocabulary, inputs), fromInputs)));
        }

        b.Output("logits", y);
        if (wanted is not null)
        {
            b.Loss(b.Add(new CrossEntropy(), "loss.rows", y, b.Add(wanted, wanted.InputName)));
        }

        return b.Build();
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record NnlmOptions(int Window, int Embedding, int Hidden, int Vocabulary, bool DirectConnections)
{
    public static NnlmOptions Of(ModelSpec spec)
        => new(spec.Int("Window", 0), spec.Int("Embedding", 0), spec.Int("Hidden", 0), spec.Int("Vocab", 0), spec.Flag("DirectConnections", true));
}
