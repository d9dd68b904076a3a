using ModelGen.Compiler;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Compiler;

/// <summary>
/// The graphs of the families and the derived backward graphs, run by the interpreter in double precision, against PyTorch: what is
/// compared is the mathematics alone, before any kernel.
/// </summary>
public sealed class GraphParityTests
{
    // The references are in single precision, and differ from double precision by this much at most.
    private const double Tolerance = 2e-6;

    private static readonly TypeIdentity Type = new("", [], "Model", "public", "Model");

    private static DeclaredArgument Of(string name, long value) => DeclaredArgument.Of(name, value);

    [Fact]
    public void Tied_gpt() => Check("gpt-tied", "Gpt", 3, 29, Of("Layers", 3), Of("DModel", 30), Of("Heads", 5), Of("Vocab", 97), Of("Context", 37));

    [Fact]
    public void Untied_gpt() => Check(
        "gpt-untied",
        "Gpt",
        2,
        16,
        Of("Layers", 2),
        Of("DModel", 40),
        Of("Heads", 4),
        Of("FeedForward", 56),
        Of("Vocab", 50),
        Of("Context", 16),
        Of("Activation", (int)Activation.Relu),
        Of("TieEmbeddings", 0),
        Of("Bias", 0));

    [Fact]
    public void Lstm() => Check("lstm", "RecurrentLm", 3, 13, Of("Cell", 1), Of("Layers", 2), Of("Embedding", 18), Of("Hidden", 24), Of("Vocab", 41));

    [Fact]
    public void Gru() => Check("gru", "RecurrentLm", 3, 13, Of("Cell", 2), Of("Layers", 2), Of("Embedding", 18), Of("Hidden", 22), Of("Vocab", 41));

    [Fact]
    public void Rnn() => Check("rnn", "RecurrentLm", 3, 13, Of("Cell", 0), Of("Layers", 2), Of("Embedding", 21), Of("Hidden", 21), Of("Vocab", 41), Of("TieEmbeddings", 1));

    [Fact]
    public void Mlp_with_cross_entropy() => Check("mlp-cross-entropy", "Mlp", 5, 1, DeclaredArgument.Of("Sizes", [13, 21, 7]));

    [Fact]
    public void Mlp_with_squared_error() => Check(
        "mlp-squared-error",
        "Mlp",
        5,
        1,
        DeclaredArgument.Of("Sizes", [13, 21, 11, 3]),
        Of("Activation", (int)Activation.Tanh),
        Of("OutputActivation", (int)Activation.Sigmoid),
        Of("Loss", 1));

    [Fact]
    public void Mlp_of_every_activation() => Check(
        "mlp-activations",
        "Mlp",
        5,
        1,
        DeclaredArgument.Of("Sizes", [5, 17, 16, 15, 9, 8, 7, 6, 5]),
        DeclaredArgument.Of("Activations", [(int)Activation.Tanh, (int)Activation.Elu, (int)Activation.Gelu, (int)Activation.Softmax, (int)Activation.GeluTanh, (int)Activation.Relu, (int)Activation.Silu]),
        Of("OutputActivation", (int)Activation.Softmax),
        Of("Loss", 1));

    [Fact]
    public void Mlp_with_binary_cross_entropy() => Check("mlp-binary", "Mlp", 5, 1, DeclaredArgument.Of("Sizes", [9, 19, 2]), Of("Activation", (int)Activation.Silu), Of("Loss", 2));

    private static void Check(string fixture, string family, int batch, int time, params DeclaredArgument[] arguments)
    {
        ReferenceFile reference = ReferenceFile.OfFixture(fixture + ".reference");
        ReferenceFile weights = ReferenceFile.OfFixture(fixture);
        IFamily described = FamilyRegistry.Get(family);
        ModelSpec spec = new(Type, family, new EquatableArray<DeclaredArgument>(arguments), new TrainingSpec(batch, described.HasSequence ? time : 0), null);
        ModelGraph forward = ExpandComposites.BeforeDifferentiation(BindExtents.Run(described.Build(spec, BuildMode.Training), batch, time));
        ModelGraph graph = ReverseMode.Differentiate(forward, "loss");

        Dictionary<string, Tensor> parameters = [];
        Dictionary<string, Parameter> declared = graph.NodesOf<Parameter>().Select(n => (Parameter)n.Op).ToDictionary(p => p.ParameterName);
        Assert.Equal(weights.Names.Order(StringComparer.Ordinal), declared.Keys.Order(StringComparer.Ordinal));
        foreach (Parameter parameter in declared.Values)
        {
            parameters.Add(parameter.ParameterName, InMemory(weights, parameter, parameter.ParameterName));
        }

        RunArguments Arguments(int step, Dictionary<string, Tensor> state)
        {
            Dictionary<string, Tensor> inputs = [];
            int targetsThatCount = batch * time;
            foreach (Node node in graph.NodesOf<Input>())
            {
                Input input = (Input)node.Op;
                string name = input.InputName == "targets" ? "targets" : "inputs";
                double[] all = input.Type.Element == ElementType.Int32 ? Array.ConvertAll(reference.Ints(name), x => (double)x) : reference.Doubles(name);
                int size = all.Length / reference.Shape(name)[0];
                double[] values = all[(step * size)..((step + 1) * size)];
                inputs.Add(input.InputName, new Tensor([.. input.Type.Shape.Dims.Select(d => d.Maximum)], values));
                if (name == "targets" && input.Type.Element == ElementType.Int32)
                {
                    targetsThatCount = values.Count(v => v >= 0);
                }
            }

            return new RunArguments { Parameters = parameters, Inputs = inputs, Batch = batch, Time = time, State = state, LossNormalizer = 1.0 / targetsThatCount };
        }

        RunResults first = ReferenceInterpreter.Run(graph, Arguments(0, []));
        Assert.Equal(reference.Floats("losses")[0], first.Outputs["loss"].Data[0], Tolerance);
        if (first.Outputs.TryGetValue("logits", out Tensor? logits))
        {
            double[] values = family == "RecurrentLm" ? BatchMajor(logits) : logits.Data;
            Compare.Absolute(reference.Floats("logits"), Array.ConvertAll(values, x => (float)x), Tolerance, fixture + ": logits");
        }

        CheckGradients("gradients.", first);
        if (reference.Has("second.logits"))
        {
            CheckGradients("second.gradients.", ReferenceInterpreter.Run(graph, Arguments(1, first.State)));
        }

        void CheckGradients(string prefix, RunResults results)
        {
            foreach (Parameter parameter in declared.Values)
            {
                float[] expected = InMemory(reference, parameter, prefix + parameter.ParameterName).ToSingle();
                Compare.RelativeToNorm(expected, results.Gradients[parameter.ParameterName].ToSingle(), Tolerance, $"{fixture}: {prefix}{parameter.ParameterName}");
            }
        }
    }

    /// <summary>A tensor as the model holds it in memory, from how files hold it.</summary>
    private static Tensor InMemory(ReferenceFile file, Parameter parameter, string name)
    {
        Tensor stored = new(file.Shape(name), file.Doubles(name));
        if (!parameter.TransposedInFile)
        {
            return stored;
        }

        Tensor result = new([stored.Dims[1], stored.Dims[0]]);
        for (int row = 0; row < stored.Rows; row++)
        {
            for (int column = 0; column < stored.Columns; column++)
            {
                result[column, row] = stored[row, column];
            }
        }

        return result;
    }

    /// <summary>[T, B, V] to [B, T, V].</summary>
    private static double[] BatchMajor(Tensor tensor)
    {
        (int time, int batch, int columns) = (tensor.Dims[0], tensor.Dims[1], tensor.Dims[2]);
        double[] result = new double[tensor.Data.Length];
        for (int t = 0; t < time; t++)
        {
            for (int b = 0; b < batch; b++)
            {
                tensor.Data.AsSpan(((t * batch) + b) * columns, columns).CopyTo(result.AsSpan(((b * time) + t) * columns));
            }
        }

        return result;
    }
}
