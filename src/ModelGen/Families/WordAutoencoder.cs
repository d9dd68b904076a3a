using System;
using System.Collections.Generic;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Families;

internal sealed class WordAutoencoder : IFamily
{
    public string Name => "WordAutoencoder";

    public string AttributeMetadataName => "ModelGen.WordAutoencoderAttribute";

    public bool HasSequence => false;

    public void Validate(ModelSpec spec, Action<SpecProblem> report)
    {
        WordAutoencoderOptions options = WordAutoencoderOptions.Of(spec);
        var checks = new ArgumentChecks(spec, report);
        bool vocabHolds = checks.RequireSize("Vocab", minimum: 2);
        bool codeHolds = checks.OptionalSize("Code");
        if (checks.OptionalSize("Window") && checks.AtMost("Window", "Window", options.Window, LargestWindow) && vocabHolds && codeHolds)
        {
            // Real numbers, since as integers the products could overflow.
            double code = options.Code, vocabulary = options.Vocabulary;
            double widest = Math.Max(vocabulary, 2 * options.Window * code);
            checks.ModelSize(spec, code * vocabulary, inferred: CommonPrograms.LargestChunk * widest, widest);
        }
    }

    // What is around a gap is a sentence at the most.
    private const int LargestWindow = 1 << 10;

    public ModelProgram Describe(ModelSpec spec)
    {
        WordAutoencoderOptions options = WordAutoencoderOptions.Of(spec);
        int words = (int)Math.Max(1, Math.Min(2L * options.Window, 2 * LargestWindow));
        Dim batch = Dim.Batch(spec.Training?.BatchSize ?? 1);
        var word = new Input("words", TensorType.Int(Shape.Of(batch)), options.Vocabulary);
        var context = new Input("context", TensorType.Int(Shape.Of(batch, words)), options.Vocabulary);
        var lengths = new Input("lengths", TensorType.Int(Shape.Of(batch)), words + 1) { Default = words };
        var targets = new Input("targets", TensorType.Int(Shape.Of(batch)), options.Vocabulary) { MayBeIgnored = true };
        Dim rows = Dim.Batch(CommonPrograms.LargestChunk);
        var entries = new List<EntryPoint>
        {
            new("Encode", EntryKind.Infer, [word], ["codes"], CommonPrograms.Once(() => Encode(options, word))) { Batch = rows },
            new("Predict", EntryKind.Infer, [context, lengths], ["logits"], CommonPrograms.Once(() => Build(options, context, lengths, null))) { Batch = rows },
        };
        if (spec.Training is { } training)
        {
            entries.AddRange(CommonPrograms.Training(training, [context, lengths, targets], CommonPrograms.Once(() => Build(options, context, lengths, targets))));
        }

        return new ModelProgram(ProgramAdapter.None, entries)
        {
            Training = spec.Training,
            Files = new([FileOption.Of("Vocab", options.Vocabulary), FileOption.Of("Code", options.Code), FileOption.Of("Window", options.Window)]),
        };
    }

    private static Value Codes(GraphBuilder b, WordAutoencoderOptions options, Input words)
        => b.Add(new Embedding(), "codes", b.Parameter("encoder.weight", Shape.Of(options.Vocabulary, options.Code), Initializer.Normal(1 / Math.Sqrt(options.Code))), b.Add(words, words.InputName));

    private static ModelGraph Encode(WordAutoencoderOptions options, Input words)
    {
        var b = new GraphBuilder();
        b.Output("codes", Codes(b, options, words));
        return b.Build();
    }

    /// <summary>The logits of a word from the mean of its neighbours' codes. A word's code is a column of the first layer, which sees it as one of <c>Vocab</c>.</summary>
    private static ModelGraph Build(WordAutoencoderOptions options, Input context, Input lengths, Input? wanted)
    {
        var b = new GraphBuilder();
        Value mean = b.MeanOverLengths("mean", Codes(b, options, context), b.Add(lengths, lengths.InputName), heads: 1);
        Value logits = b.Linear("decoder", mean, options.Vocabulary, bias: true, Initializer.Normal(1 / Math.Sqrt(options.Code)));
        b.Output("logits", logits);
        if (wanted is not null)
        {
            b.Loss(b.Add(new CrossEntropy(), "loss.rows", logits, b.Add(wanted, wanted.InputName)));
        }

        return b.Build();
    }
}

/// <summary>A declaration's options, with the defaults in the place of what was not given.</summary>
internal sealed record WordAutoencoderOptions(int Vocabulary, int Code, int Window)
{
    public static WordAutoencoderOptions Of(ModelSpec spec) => new(spec.Int("Vocab", 0), spec.Int("Code", 256), spec.Int("Window", 2));
}
