using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// Everything that users see of a model, as a list of members that follows from its entry points. Without plans, as for an invalid
/// declaration, the list is the same and its numbers are zero.
/// </summary>
internal sealed class ModelSurface
{
    private const string Runtime = "global::ModelGen.Runtime.";
    private const string Context = "in global::ModelGen.Runtime.PlanContext context, global::ModelGen.Runtime.Worker worker";

    private readonly ModelSpec _spec;
    private readonly ModelProgram _program;
    private readonly CompiledPlans? _plans;
    private readonly string _name;
    private readonly string _code;

    public ModelSurface(ModelSpec spec, ModelProgram program, CompiledPlans? plans, string codeNamespace)
    {
        _spec = spec;
        _program = program;
        _plans = plans;
        _name = spec.Type.Name;
        _code = codeNamespace;
        Constants = [.. ListConstants()];
        Members = [.. Constants, .. ListMembers(), .. ListInterface()];
        Session = ListSession();
        Trainer = IsTrained ? ListTrainer() : null;
    }

    public IReadOnlyList<ConstantMember> Constants { get; }

    /// <summary>The class's own members, constants first.</summary>
    public IReadOnlyList<Member> Members { get; }

    public NestedClass Session { get; }

    public NestedClass? Trainer { get; }

    /// <summary>The interface through which code that is generic over models reaches this one, as the class's header names it.</summary>
    public string Interface => _program.Adapter switch
    {
        ProgramAdapter.CausalLanguageModel => " : " + Global((IsTrained ? "ITrainableLanguageModel" : "ICausalLanguageModel") + $"<{_spec.Type.Reference}>"),
        ProgramAdapter.FeedForward => " : " + Global($"IFeedForwardModel<{_spec.Type.Reference}>"),
        ProgramAdapter.EncoderDecoder => " : " + Global((IsTrained ? "ITrainableEncoderDecoderModel" : "IEncoderDecoderModel") + $"<{_spec.Type.Reference}>"),
        _ => "",
    };

    private bool IsLanguageModel => _program.Adapter == ProgramAdapter.CausalLanguageModel;

    private bool IsFeedForward => _program.Adapter == ProgramAdapter.FeedForward;

    private bool IsEncoderDecoder => _program.Adapter == ProgramAdapter.EncoderDecoder;

    private bool IsTrained => _program.Find(EntryKind.Step) is not null;

    /// <summary>The class that an entry point's plan is the method of.</summary>
    public static string PlanClass(string entry) => PlanEmitter.PlanClass(entry);

    public static string SymbolText(string text) => "\"" + text.Replace("\\", "\\\\").Replace("\"", "\\\"").Replace("@", "") + "\"";

    public static string Bytes(long bytes) => bytes switch
    {
        < 10_000 => bytes.ToString("N0", CultureInfo.InvariantCulture) + " bytes",
        < 10_000_000 => (bytes / 1000.0).ToString("N1", CultureInfo.InvariantCulture) + " kB",
        _ => (bytes / 1e6).ToString("N1", CultureInfo.InvariantCulture) + " MB",
    };

    // ---------------------------------------------------------------- constants

    private IEnumerable<ConstantMember> ListConstants()
    {
        long parameters = Of(p => p.ParameterCount);
        yield return new ConstantMember(parameters <= int.MaxValue ? "int" : "long", "ParameterCount", parameters, "The number of scalars in all parameters.");
        yield return InBytes(ModelConstants.WeightBytes, Of(p => p.WeightBytes), "The memory of the weights in bytes, each parameter aligned to a cache line.");
        yield return InBytes(ModelConstants.InferenceArenaBytes, Of(p => p.InferenceArenaBytes), "The memory of a session's activations in bytes.", "Inference arena");
        if (IsLanguageModel || IsEncoderDecoder)
        {
            yield return InBytes("KvBytesPerToken", Of(p => p.StateBytesPerToken), "The memory that each token of context takes in a session's key/value cache, in bytes.", "Key/value cache", " a token");
            yield return StateBytes();
            yield return Count("long", "FlopsPerToken", Of(p => p.Entry("Decode").Plan.Flops),
                "The floating-point operations of decoding one token at an empty context's end; a multiply-add counts as two.", "Decoding", " floating-point operations a token");
            if (IsEncoderDecoder)
            {
                yield return Count("long", "FlopsPerSource", Of(p => p.Entry("Encode").Plan.Flops),
                    "The floating-point operations of encoding the longest source; a multiply-add counts as two.", "Encoding", " floating-point operations for the longest source");
            }
        }
        else if (IsFeedForward)
        {
            yield return Count("long", "FlopsPerExample", Of(p => p.Entry("Predict").Plan.Flops / p.Entry("Predict").Entry.Batch.Maximum),
                "The floating-point operations of one example; a multiply-add counts as two.", "Prediction", " floating-point operations an example");
        }

        else
        {
            yield return StateBytes();
        }

        yield return InBytes("WorkerScratchBytes", Of(p => p.ScratchBytes), "The memory that each thread needs for itself, in bytes.");
        if (IsTrained)
        {
            yield return InBytes(ModelConstants.GradientBytes, Of(p => p.GradientBytes), "The memory of the gradients in bytes, and of each of an optimizer's slots: what is frozen has none.");
            yield return InBytes(ModelConstants.TrainingArenaBytes, Of(p => p.TrainingArenaBytes), "The memory of a trainer's activations in bytes; gradients and optimizer state come on top.", "Training arena");
            yield return InBytes("AdamWTrainingBytes", Of(p => p.AdamWTrainingBytes),
                "The memory of training with AdamW in bytes: weights, gradients, two optimizer slots, activations and carried state. Each thread takes WorkerScratchBytes on top.");
            yield return Count("long", "FlopsPerStep", Of(p => p.Entries.First(e => e.Entry.Trains).Plan.Flops),
                "The floating-point operations of one training micro-batch, forward and backward; a multiply-add counts as two.", "Training step", " floating-point operations");
            yield return Count("int", "BatchSize", _program.Training!.BatchSize, "Sequences (or examples) in a training micro-batch.");
        }

        if (_spec.HasCuda)
        {
            if (_spec.WeightFormat != WeightFormat.F32 || _spec.WeightsOf.Count > 0 || _spec.CudaPrecision == CudaPrecision.BF16)
            {
                string widened = _plans is null || _plans.WidenedFormats.Count == 0 ? "" : $"; of the matrices that are packed on the processor, {string.Join(" and ", _plans.WidenedFormats)} are single precision there";
                widened = _plans?.Copies is { All.Count: > 0 } ? $", those that tensor cores multiply a second time in bfloat16{widened}" : widened;
                yield return InBytes("CudaWeightBytes", Of(p => p.CudaWeightBytes), $"The memory of the weights on a CUDA device in bytes{widened}.", _plans is { WidenedFormats.Count: > 0 } ? $"Weights on a device, {string.Join(" and ", _plans.WidenedFormats)} widened to F32" : "Weights on a device");
            }

            yield return InBytes("CudaArenaBytes", Of(p => p.CudaArenaBytes(ofTrainer: false)), "The memory of a session's activations on a CUDA device in bytes.", "Inference arena on a device");
            if (IsTrained)
            {
                yield return InBytes("CudaTrainingArenaBytes", Of(p => p.CudaArenaBytes(ofTrainer: true)), "The memory of a trainer's activations on a CUDA device in bytes; gradients and optimizer state come on top.", "Training arena on a device");
            }
        }

        if (IsLanguageModel || IsEncoderDecoder)
        {
            if (IsLanguageModel)
            {
                yield return Count("int", "VocabularySize", Entries(ofTrainer: false)[0].Inputs[0].Classes, "The number of token ids.", "Vocabulary", " tokens");
                yield return Count("int", "ContextLength", _program.Context, "The most tokens that a session holds; 0 where there is no limit.", "Context", " tokens");
            }
            else
            {
                yield return Count("int", "SourceVocabularySize", _program.Entry("Encode").Inputs[0].Classes, "The number of token ids of sources.", "Source vocabulary", " tokens");
                yield return Count("int", "TargetVocabularySize", _program.Entry("Decode").Inputs[0].Classes, "The number of token ids of targets.", "Target vocabulary", " tokens");
                yield return Count("int", "SourceContextLength", _program.SourceContext, "The most tokens of a source.", "Source context", " tokens");
                yield return Count("int", "TargetContextLength", _program.Context, "The most tokens of a target, the first one that none is given for included; 0 where there is no limit.", "Target context", " tokens");
            }

            if (_program.MaxBatch > 1)
            {
                yield return Count("int", ModelConstants.MaxBatch, _program.MaxBatch, "The most sequences that a session holds, as its options ask for.", "Sequences of a session");
            }

            if (IsTrained)
            {
                yield return Count("int", "SequenceLength", _program.Training!.SequenceLength, "Tokens of each sequence in a training micro-batch.");
                if (IsEncoderDecoder)
                {
                    yield return Count("int", "SourceLength", _program.Find(EntryKind.Step)!.Inputs[0].Type.Shape[1].Maximum, "Tokens of each source in a training micro-batch, padding included.");
                }
            }
        }
        else if (IsFeedForward)
        {
            yield return Count("int", "InputSize", Entries(ofTrainer: false)[0].Inputs[0].Type.Shape.Columns, "The features of an example.", "Inputs");
            yield return Count("int", "OutputSize", Of(p => p.Entry("Predict").Graph.Output("outputs").Shape.Columns), "The outputs of an example.", "Outputs");
        }
    }

    private ConstantMember StateBytes()
        => InBytes(ModelConstants.SessionStateBytes, Of(p => p.InferenceStateBytes), $"The memory of a session's key/value cache or recurrent state in bytes{(_program.MaxBatch > 1 ? ", for each of its sequences" : "")}.");

    private static ConstantMember InBytes(string name, long value, string summary, string? term = null, string unit = "")
        => new("long", name, value, summary) { Term = value > 0 ? term : null, Text = Bytes(value) + unit };

    private static ConstantMember Count(string type, string name, long value, string summary, string? term = null, string unit = "")
        => new(type, name, value, summary) { Term = value > 0 ? term : null, Text = value.ToString("N0", CultureInfo.InvariantCulture) + unit };

    private long Of(Func<CompiledPlans, long> value) => _plans is null ? 0 : value(_plans);

    // ---------------------------------------------------------------- members

    private IEnumerable<Member> ListMembers()
    {
        yield return new PrivateMember($"private readonly {Runtime}ModelWeights _weights;");
        yield return new BodyMember($"private {_name}({Runtime}ModelWeights weights)", "_weights = weights");
        yield return Public("static global::System.Collections.Generic.IReadOnlyList<global::ModelGen.ParameterInfo> Parameters", $"{_code}.Layout.Table.Parameters",
            "<summary>Every parameter: its name and shape in weight files, and where it lies in memory.</summary>");
        yield return Public($"static {_spec.Type.Reference} Create(int seed = 0)", $"new({Runtime}ModelWeights.Create({_code}.Layout.Table, seed))",
            "<summary>Creates a model with random weights.</summary>",
            "<param name=\"seed\">The same seed gives the same weights, on every machine.</param>");
        yield return Public($"static {_spec.Type.Reference} Load(string path)", "Load(path, null)",
            "<summary>Loads the weights from a file (safetensors, GGUF, PyTorch and others), by parameter name.</summary>",
            "<param name=\"path\">The file.</param>",
            "<exception cref=\"global::ModelGen.ModelFileException\">The file is damaged, or is of another model.</exception>");
        yield return Public($"static {_spec.Type.Reference} Load(string path, global::ModelGen.LoadOptions? options)", $"new({Runtime}ModelWeights.Load({_code}.Layout.Table, path, options))",
            "<summary>Loads the weights from a file (safetensors, GGUF, PyTorch and others) that may differ from the model's own in what the options say.</summary>",
            "<param name=\"path\">The file.</param>",
            "<param name=\"options\">In what the file may differ; null for the defaults.</param>",
            "<exception cref=\"global::ModelGen.ModelFileException\">The file is damaged, or is of another model.</exception>");
        yield return Public("void Save(string path)", "_weights.Save(path)",
            "<summary>Saves the weights as a safetensors file, or as a GGUF file where its name ends in <c>.gguf</c>, written beside an existing one and renamed.</summary>",
            "<param name=\"path\">The file.</param>");
        yield return Public("void Save(string path, string original)", "_weights.Save(path, original)",
            "<summary>Saves the weights as another GGUF file of the same model has them, with its names and its metadata: a file for the programs that read that one.</summary>",
            "<param name=\"path\">The file.</param>",
            "<param name=\"original\">The other file.</param>",
            "<exception cref=\"global::ModelGen.ModelFileException\">The other file is damaged, or is of another model.</exception>");
        if (_spec.Lora is not null)
        {
            yield return Public("void SaveAdapters(string path)", "_weights.SaveAdapters(path)",
                "<summary>Saves the low-rank adapters alone, as a safetensors file under PEFT's names; where it is called <c>adapter_model.safetensors</c>, with <c>adapter_config.json</c> beside it.</summary>",
                "<param name=\"path\">The file.</param>");
            yield return Public("void SaveAdapters(string path, string original)", "_weights.SaveAdapters(path, original)",
                "<summary>Saves the low-rank adapters alone, as a GGUF file that other programs read beside the model's.</summary>",
                "<param name=\"path\">The file.</param>",
                "<param name=\"original\">The model's GGUF file.</param>",
                "<exception cref=\"global::ModelGen.ModelFileException\">The model's file is damaged or of an unknown architecture, or adapted weights have no place in such a file.</exception>");
            yield return Public("void LoadAdapters(string path)", "_weights.LoadAdapters(path)",
                "<summary>Loads low-rank adapters, from a file of <see cref=\"SaveAdapters(string)\"/>, of PEFT or a GGUF file of adapters. If the file does not fit, nothing has changed.</summary>",
                "<param name=\"path\">The file.</param>",
                "<exception cref=\"global::ModelGen.ModelFileException\">The file is damaged, or is of another model or of other adapters.</exception>");
            yield return Public("void MergeAdapters()", "_weights.MergeAdapters()",
                "<summary>Adds the adapters' updates to the weights that they adapt and sets the updates to zero: the model computes the same as before. Make another trainer afterwards.</summary>");
            yield return Public("void SaveMerged(string path)", "_weights.SaveMerged(path)",
                "<summary>Saves the model as one without adapters, which are merged into the file's weights; this model stays as it is.</summary>",
                "<param name=\"path\">The file.</param>");
        }

        yield return Public("global::System.Span<float> Parameter(string name)", "_weights.Parameter(name)",
            "<summary>A parameter's numbers, row-major; writing to them changes the model.</summary>",
            "<param name=\"name\">The parameter's name, as <see cref=\"Parameters\"/> lists it.</param>",
            "<exception cref=\"global::System.ArgumentException\">There is no such parameter.</exception>");
        yield return Public($"{SessionName} CreateSession(global::ModelGen.SessionOptions? options = null)", "new(this, options)",
            "<summary>Creates a session, which owns all memory that inference needs and allocates nothing afterwards.</summary>",
            "<param name=\"options\">Threads; null for the defaults.</param>");
        if (IsTrained)
        {
            yield return Public($"{TrainerName} CreateTrainer(global::ModelGen.Optimizer optimizer, global::ModelGen.TrainerOptions? options = null)", "new(this, optimizer, options)",
                "<summary>Creates a trainer, which updates this model's weights in place and allocates nothing after its creation.</summary>",
                "<param name=\"optimizer\">How gradients become updates.</param>",
                "<param name=\"options\">Threads, accumulation and seed; null for the defaults.</param>");
        }
    }

    private static BodyMember Public(string declaration, string body, params string[] documentation)
        => new("public " + declaration, body) { Documentation = documentation };

    /// <summary>What the runtime's interfaces ask for under other names, or with their own types.</summary>
    private IEnumerable<Member> ListInterface()
    {
        if (_program.Adapter == ProgramAdapter.None)
        {
            yield break;
        }

        string model = Global((IsLanguageModel ? "ICausalLanguageModel" : IsEncoderDecoder ? "IEncoderDecoderModel" : "IFeedForwardModel") + $"<{_spec.Type.Reference}>");
        string trainable = Global($"{(IsEncoderDecoder ? "ITrainableEncoderDecoderModel" : "ITrainableLanguageModel")}<{_spec.Type.Reference}>");
        yield return new BodyMember($"static string {model}.ModelName", SymbolText(_name));
        yield return new BodyMember($"static long {model}.ParameterTotal", "ParameterCount");
        string[] sizes = IsLanguageModel ? ["VocabularySize", "ContextLength"]
            : IsEncoderDecoder ? ["SourceVocabularySize", "TargetVocabularySize", "SourceContextLength", "TargetContextLength"] : ["InputSize", "OutputSize"];
        foreach (string constant in sizes)
        {
            yield return new BodyMember($"static int {model}.{constant}", constant);
        }

        yield return new BodyMember($"{SessionBase} {model}.CreateSession(global::ModelGen.SessionOptions? options)", "CreateSession(options)");
        if ((IsLanguageModel || IsEncoderDecoder) && IsTrained)
        {
            yield return new BodyMember($"static int {trainable}.TrainingBatchSize", "BatchSize");
            yield return new BodyMember($"static int {trainable}.TrainingSequenceLength", "SequenceLength");
            if (IsEncoderDecoder)
            {
                yield return new BodyMember($"static int {trainable}.TrainingSourceLength", "SourceLength");
            }

            yield return new BodyMember($"{TrainerBase} {trainable}.CreateTrainer(global::ModelGen.Optimizer optimizer, global::ModelGen.TrainerOptions? options)", "CreateTrainer(optimizer, options)");
        }
    }

    // ---------------------------------------------------------------- session and trainer

    // No member can have its class's name.
    private string SessionName => _name == "Session" ? "ModelSession" : "Session";

    private string TrainerName => _name == "Trainer" ? "ModelTrainer" : "Trainer";

    private string SessionBase => Global(_program.Adapter switch
    {
        ProgramAdapter.CausalLanguageModel => "CausalSession",
        ProgramAdapter.FeedForward => "FeedForwardSession",
        ProgramAdapter.EncoderDecoder => "EncoderDecoderSession",
        _ => "ModelSession",
    });

    private string TrainerBase
    {
        get
        {
            IReadOnlyList<Input> inputs = _program.Find(EntryKind.Step)!.Inputs;
            bool classes = inputs[inputs.Count - 1].Type.Element == ElementType.Int32;
            return Global(_program.Adapter switch
            {
                ProgramAdapter.CausalLanguageModel => "TokenTrainer",
                ProgramAdapter.FeedForward => classes ? "ClassifierTrainer" : "RegressionTrainer",
                ProgramAdapter.EncoderDecoder => "SequencePairTrainer",
                _ => "Trainer",
            });
        }
    }

    private IReadOnlyList<EntryPoint> Entries(bool ofTrainer) => [.. _program.Entries.Where(e => e.BelongsToTrainer == ofTrainer)];

    private NestedClass ListSession()
        => new(
            SessionName,
            SessionBase,
            (IsLanguageModel ? "Continues one sequence of tokens." : IsEncoderDecoder ? "Encodes a source and continues its target, token by token." : "Computes outputs from inputs.") + " It owns its memory and threads; use it from one thread at a time.",
            $"{_spec.Type.Reference} model, global::ModelGen.SessionOptions? options",
            ["model._weights, new " + Runtime + "ProgramLayout", .. Layout(ofTrainer: false), "}, options"],
            "null!, null!, null",
            [Execute(ofTrainer: false), .. _program.Adapter == ProgramAdapter.None ? Entries(ofTrainer: false).Select(Inference) : [], .. Scoring(), .. Measuring(), .. Forward()]);

    private NestedClass ListTrainer()
        => new(
            TrainerName,
            TrainerBase,
            "Trains the model: forward pass, backward pass and update in each step. Use it from one thread at a time.",
            $"{_spec.Type.Reference} model, global::ModelGen.Optimizer optimizer, global::ModelGen.TrainerOptions? options",
            ["model._weights, new " + Runtime + "ProgramLayout", .. Layout(ofTrainer: true), "}, optimizer, options"],
            "null!, null!, null!, null",
            [Execute(ofTrainer: true), .. _program.Adapter == ProgramAdapter.None ? Entries(ofTrainer: true).Select(Training) : []]);

    private BodyMember Execute(bool ofTrainer)
    {
        var body = new List<string> { "switch (entry)", "{" };
        IReadOnlyList<EntryPoint> entries = Entries(ofTrainer);
        for (int i = 0; i < entries.Count; i++)
        {
            body.Add(i == entries.Count - 1 ? "  default:" : $"  case {CodeWriter.Number(i)}:");
            body.Add($"    {_code}.{PlanClass(entries[i].Name)}.Run(in context, worker);");
            body.Add("    break;");
        }

        return new BodyMember($"protected override void Execute(int entry, {Context})", [.. body, "}"]) { Documentation = ["<inheritdoc/>"], IsBlock = true };
    }

    /// <summary>What a session of a language model has where the declaration asks for it.</summary>
    private IEnumerable<BodyMember> Scoring()
    {
        if (IsLanguageModel && Entries(ofTrainer: false).Any(e => e.Name == "Score"))
        {
            yield return Public("void Score(global::System.ReadOnlySpan<int> tokens, global::System.Span<float> logProbabilities)", "ScoreTokens(tokens, logProbabilities)",
                "<summary>Appends tokens, and says how probable each of them but the first is after what comes before it, in one pass.</summary>",
                "<param name=\"tokens\">Two tokens or more.</param>",
                "<param name=\"logProbabilities\">One less than tokens: the natural logarithm of the probability of the token at 1, at 2, ….</param>",
                "<exception cref=\"global::System.ArgumentException\">There are too few tokens, or the spans do not fit each other. The session is unchanged.</exception>",
                "<exception cref=\"global::System.ArgumentOutOfRangeException\">A token id is outside the vocabulary. The session is unchanged.</exception>",
                "<exception cref=\"global::System.InvalidOperationException\">The tokens do not fit into the context, or another thread is using the session. The session is unchanged.</exception>",
                "<exception cref=\"global::System.ObjectDisposedException\">The session was disposed.</exception>");
        }
    }

    /// <summary>What a session of a language model has where the declaration asks how large the inputs of its layers are.</summary>
    private IEnumerable<BodyMember> Measuring()
    {
        if (IsLanguageModel && Entries(ofTrainer: false).Any(e => e.Name == "Measure"))
        {
            yield return Public("void MeasureInputs(global::System.ReadOnlySpan<int> tokens, global::ModelGen.InputMeasure measure)", "MeasureTokens(tokens, measure)",
                "<summary>Appends tokens, and gives the squares of what linear layers read on the way, summed over the tokens.</summary>",
                "<param name=\"tokens\">One token or more.</param>",
                "<param name=\"measure\">Takes the sums of each weight, several times where there are many tokens; it must not use the session.</param>",
                "<exception cref=\"global::System.ArgumentException\">There are no tokens. The session is unchanged.</exception>",
                "<exception cref=\"global::System.ArgumentOutOfRangeException\">A token id is outside the vocabulary. The session is unchanged.</exception>",
                "<exception cref=\"global::System.InvalidOperationException\">The tokens do not fit into the context, or another thread is using the session. The session is unchanged.</exception>",
                "<exception cref=\"global::System.ObjectDisposedException\">The session was disposed.</exception>");
        }
    }

    /// <summary>What a session of a language model has where the declaration asks for hidden states or attention weights.</summary>
    private IEnumerable<BodyMember> Forward()
    {
        if (!IsLanguageModel || Entries(ofTrainer: false).FirstOrDefault(e => e.Name == "Forward") is not { } entry)
        {
            yield break;
        }

        bool hasStates = entry.Outputs.Any(o => o.StartsWith("hidden_states.", StringComparison.Ordinal)), hasWeights = entry.Outputs.Any(o => o.StartsWith("attentions.", StringComparison.Ordinal));
        const string Span = ", global::System.Span<float> ";
        yield return Public(
            $"void Forward(global::System.ReadOnlySpan<int> tokens{Span}logits{(hasStates ? Span + "hiddenStates" : "")}{(hasWeights ? Span + "attentionWeights" : "")})",
            $"ForwardTokens(tokens, logits, {(hasStates ? "hiddenStates" : "default")}, {(hasWeights ? "attentionWeights" : "default")})",
            [
                "<summary>Appends tokens, and gives what the model computes on the way for each of them. What is not wanted is an empty span.</summary>",
                "<param name=\"tokens\">One token or more.</param>",
                "<param name=\"logits\">The logits of the token that follows each: tokens × VocabularySize.</param>",
                .. hasStates ? [$"<param name=\"hiddenStates\">The hidden states: {CodeWriter.Number(entry.Outputs.Count(o => o.StartsWith("hidden_states.", StringComparison.Ordinal)))} × tokens{Width(entry, "hidden_states.0")}.</param>"] : Array.Empty<string>(),
                .. hasWeights ? ["<param name=\"attentionWeights\">The attention weights: layers × heads × tokens × positions, which are those of the whole sequence with these tokens; zero for later ones than the token's own.</param>"] : Array.Empty<string>(),
                "<exception cref=\"global::System.ArgumentException\">There are no tokens, or a span does not fit them. The session is unchanged.</exception>",
                "<exception cref=\"global::System.ArgumentOutOfRangeException\">A token id is outside the vocabulary. The session is unchanged.</exception>",
                "<exception cref=\"global::System.InvalidOperationException\">The tokens do not fit into the context, the session holds several sequences, or another thread is using it. The session is unchanged.</exception>",
                "<exception cref=\"global::System.ObjectDisposedException\">The session was disposed.</exception>",
            ]);
    }

    private string Width(EntryPoint entry, string output)
        => _plans is null ? "" : " × " + CodeWriter.Number(_plans.Entry(entry.Name).Graph.Output(output).Shape.Columns);

    /// <summary>The method that a session without a typed base has for an entry point.</summary>
    private BodyMember Inference(EntryPoint entry, int index)
    {
        bool returns = entry.Returns;
        string[] inputs = [.. entry.Inputs.Select(i => Identifier(i.InputName))];
        string[] outputs = returns ? [] : [.. entry.Outputs.Select(Identifier)];

        // Of one extent, inputs say how many there are.
        Dim[] extents = entry.Extents.Count > 1 ? [.. entry.Extents] : [];
        string[] counts = [.. extents.Select(e => Identifier(ExtentName(e)))];
        return new BodyMember(
            $"public {(returns ? "global::System.ReadOnlySpan<float>" : "void")} {entry.Name}({string.Join(", ", [.. counts.Select(c => "int " + c), .. entry.Inputs.Select((p, i) => SpanOf(p) + " " + inputs[i]), .. outputs.Select(o => "global::System.Span<float> " + o)])})",
            [
                $"using global::ModelGen.ModelSession.SessionCall call = Begin({CodeWriter.Number(index)});",
                .. counts.Select((name, i) => $"call.Count({CodeWriter.Number(_plans?.Entry(entry.Name).NumberOf(extents[i]) ?? 0)}, {name}, {SymbolText(ExtentName(extents[i]))});"),
                .. inputs.Select((name, i) => $"call.Input({CodeWriter.Number(i)}, {name});"),
                .. outputs.Select((name, i) => $"call.Expect({CodeWriter.Number(i)}, {name});"),
                "call.Run();",
                .. outputs.Select((name, i) => $"call.Output({CodeWriter.Number(i)}, {name});"),
                .. returns ? ["return call.Output(0);"] : Array.Empty<string>(),
            ])
        {
            IsBlock = true,
            Documentation =
            [
                $"<summary>Runs the entry point {entry.Name}{(entry.Continues ? ", which continues the session's sequence" : "")}.</summary>",
                .. extents.Select((e, i) => $"<param name=\"{counts[i].Substring(1)}\">How many there are of {e.Symbol}: 1 to {CodeWriter.Number(e.Maximum)}.</param>"),
                .. entry.Inputs.Select((p, i) => $"<param name=\"{inputs[i].Substring(1)}\">{Describe(p)}</param>"),
                .. outputs.Select((o, i) => $"<param name=\"{o.Substring(1)}\">Where {entry.Outputs[i]} goes{ShapeOfOutput(entry, i)}{(entry.OptionalOutputs.Contains(entry.Outputs[i]) ? "; or empty, where it is not wanted" : "")}.</param>"),
                .. returns ? [$"<returns>{entry.Outputs[0]}{ShapeOfOutput(entry, 0)}, until the next call.</returns>"] : Array.Empty<string>(),
                "<exception cref=\"global::System.ArgumentException\">A span has the wrong length, or an integer is outside its range. The session is unchanged.</exception>",
                "<exception cref=\"global::System.InvalidOperationException\">The context is full, or another thread is using the session. The session is unchanged.</exception>",
                "<exception cref=\"global::System.ObjectDisposedException\">The session was disposed.</exception>",
            ],
        };
    }

    /// <summary>The method that a trainer without a typed base has for a step or an evaluation.</summary>
    private BodyMember Training(EntryPoint entry, int index)
    {
        string[] inputs = [.. entry.Inputs.Select(i => Identifier(i.InputName))];
        return new BodyMember(
            $"public float {entry.Name}({string.Join(", ", entry.Inputs.Select((p, i) => SpanOf(p) + " " + inputs[i]))})",
            [
                $"using global::ModelGen.Trainer.TrainerCall call = Begin({CodeWriter.Number(index)});",
                .. inputs.Select((name, i) => $"call.Check({CodeWriter.Number(i)}, {name}, {SymbolText(entry.Inputs[i].InputName)});"),
                "while (call.Next())",
                "{",
                .. inputs.Select((name, i) => $"  call.Stage({CodeWriter.Number(i)}, {name});"),
                "  call.Run();",
                "}",
                "",
                "return call.Loss;",
            ])
        {
            IsBlock = true,
            Documentation =
            [
                entry.Trains
                    ? "<summary>One step: forward and backward over each micro-batch, then clipping and the optimizer.</summary>"
                    : "<summary>The loss without training.</summary>",
                .. entry.Inputs.Select((p, i) => $"<param name=\"{inputs[i].Substring(1)}\">{(entry.Trains ? "Accumulation steps times" : "Any number of examples of")} {Describe(p)}</param>"),
                "<returns>The mean loss over what counts.</returns>",
                "<exception cref=\"global::System.ArgumentException\">A span has the wrong length, or an integer is outside its range. Nothing has changed.</exception>",
                "<exception cref=\"global::System.InvalidOperationException\">Another thread is using the trainer. Nothing has changed.</exception>",
                "<exception cref=\"global::System.ObjectDisposedException\">The trainer was disposed.</exception>",
            ],
        };
    }

    private static string SpanOf(Input input) => $"global::System.ReadOnlySpan<{(input.Type.Element == ElementType.Int32 ? "int" : "float")}>";

    private static string Describe(Input input)
        => $"{input.Type}, row-major{(input.Type.Element == ElementType.Int32 ? $": integers from 0 to {CodeWriter.Number(input.Classes - 1)}{(input.MayBeIgnored ? ", or -1 where none counts" : "")}" : "")}{(input.Default is { } number ? FormattableString.Invariant($"; or empty, which stands for {number:R} everywhere") : "")}.";

    private string ShapeOfOutput(EntryPoint entry, int output)
        => _plans is null ? "" : ", " + _plans.Entry(entry.Name).Graph.Output(entry.Outputs[output]).Shape;

    private static string Identifier(string name)
    {
        string cleaned = string.Concat(name.Select(c => char.IsLetterOrDigit(c) ? c : '_'));
        return "@" + (char.IsDigit(cleaned[0]) ? "_" + cleaned : cleaned);
    }

    // ---------------------------------------------------------------- layouts

    /// <summary>What the runtime must know to check, stage and run the entry points of a session or a trainer.</summary>
    private IEnumerable<string> Layout(bool ofTrainer)
    {
        if (_plans is null)
        {
            yield break;
        }

        CompiledEntry[] entries = [.. _plans.Entries.Where(e => e.Entry.BelongsToTrainer == ofTrainer)];
        yield return "{";
        yield return $"  ModelName = {SymbolText(_name)},";
        yield return $"  ArenaBytes = {CodeWriter.Number(ofTrainer ? _plans.TrainingArenaBytes : _plans.InferenceArenaBytes)},";
        yield return $"  StateBytes = {CodeWriter.Number(ofTrainer ? _plans.TrainingStateBytes : _plans.InferenceStateBytes)},";
        yield return $"  ScratchBytes = {CodeWriter.Number(entries.Select(e => e.Plan.ScratchBytes).DefaultIfEmpty(0).Max())},";
        if (ofTrainer)
        {
            yield return $"  BatchSize = {CodeWriter.Number(_program.Training!.BatchSize)},";
            yield return $"  SequenceLength = {CodeWriter.Number(Math.Max(1, _program.Training.SequenceLength))},";
        }
        else if (_program.Context > 0)
        {
            yield return $"  ContextLength = {CodeWriter.Number(_program.Context)},";
        }
        else if (_program.Positions > 0)
        {
            yield return $"  PositionLimit = {CodeWriter.Number(_program.Positions)},";
        }

        if (!ofTrainer && _program.MaxBatch > 1)
        {
            yield return $"  MaximumBatch = {CodeWriter.Number(_program.MaxBatch)},";
        }

        if (!ofTrainer && _plans.Caches.Count > 0)
        {
            yield return "  Caches =";
            yield return "  [";
            foreach (StateCache cache in _plans.Caches)
            {
                yield return $"    new global::ModelGen.Runtime.StateCache({CodeWriter.Number(cache.Offset)}, {CodeWriter.Number(cache.RowBytes)}, {CodeWriter.Number(cache.Rows)}),";
            }

            yield return "  ],";
        }

        if (!ofTrainer && _plans.HasOtherStates)
        {
            yield return "  HasOtherStates = true,";
        }

        if (entries.Any(e => e.Cuda is not null))
        {
            yield return $"  Cuda = {_code}.{CudaEmitter.ClassName(ofTrainer)}.Layout,";
        }

        yield return "  Entries =";
        yield return "  [";
        foreach (CompiledEntry entry in entries)
        {
            yield return $"    new {Runtime}EntryLayout";
            yield return "    {";
            yield return $"      Name = {SymbolText(entry.Entry.Name)},";
            yield return $"      Inputs = [{string.Join(", ", entry.Inputs.Select(Place))}],";
            yield return $"      Outputs = [{string.Join(", ", entry.Outputs.Select(o => $"new {Runtime}EntryOutput({SymbolText(o.Name)}, {CodeWriter.Number(o.Offset)}, {CodeWriter.Number(o.Length)}){Properties([.. Varying(o), .. o.IsOptional ? ["IsOptional = true"] : Array.Empty<string>()])}"))}],";
            if (entry.Extents.Count > 0)
            {
                yield return $"      Extents = [{string.Join(", ", entry.Extents.Select(e => $"new {Runtime}EntryExtent({SymbolText(ExtentName(e))}, {CodeWriter.Number(e.Maximum)})"))}],";
            }

            if (entry.Entry.Continues)
            {
                yield return "      Continues = true,";
                if (!entry.Entry.Time.IsLiteral && entry.NumberOf(entry.Entry.Time) is > 0 and int steps)
                {
                    yield return $"      Steps = {CodeWriter.Number(steps)},";
                }
            }

            if (entry.Entry.Trains)
            {
                yield return "      IsStep = true,";
                if (entry.UpdatedOf(_plans.Layout) is { } updated)
                {
                    yield return $"      Updates = [{string.Join(", ", updated.Select(SymbolText))}],";
                }
            }

            yield return "    },";
        }

        yield return "  ],";
    }

    private static string Place(EntryValue input)
    {
        var properties = Varying(input).ToList();
        if (input.Classes > 0)
        {
            properties.Add("Classes = " + CodeWriter.Number(input.Classes));
        }

        if (input.MayBeIgnored)
        {
            properties.Add("MayBeIgnored = true");
        }

        if (input.Default is { } number)
        {
            properties.Add("Default = " + number.ToString("R", CultureInfo.InvariantCulture));
        }

        return $"new {Runtime}EntryInput({SymbolText(input.Name)}, {CodeWriter.Number(input.Offset)}, {CodeWriter.Number(input.Length)})" + Properties(properties);
    }

    private static IEnumerable<string> Varying(EntryValue value)
    {
        if (value.Extents.Count > 0)
        {
            yield return $"Extents = [{string.Join(", ", value.Extents.Select(e => CodeWriter.Number(e)))}]";
        }
    }

    private static string Properties(IReadOnlyList<string> properties) => properties.Count > 0 ? $" {{ {string.Join(", ", properties)} }}" : "";

    /// <summary>What callers call the count of an extent.</summary>
    private static string ExtentName(Dim extent) => extent.Symbol switch { ExtentNames.Batch => "batch", ExtentNames.Time => "steps", { } other => other, _ => "" };

    private static string Global(string type) => "global::ModelGen." + type;
}

/// <summary>Constants of an emitted class that the compiler reads back.</summary>
internal static class ModelConstants
{
    public const string WeightBytes = "WeightBytes";
    public const string InferenceArenaBytes = "InferenceArenaBytes";
    public const string SessionStateBytes = "SessionStateBytes";
    public const string MaxBatch = "MaxBatch";
    public const string GradientBytes = "GradientBytes";
    public const string TrainingArenaBytes = "TrainingArenaBytes";
}
