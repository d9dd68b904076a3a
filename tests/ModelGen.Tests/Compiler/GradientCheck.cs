using System.Globalization;
using ModelGen.Compiler.Autodiff;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;

namespace ModelGen.Tests.Compiler;

/// <summary>Compares the gradients that the compiler derives with central differences of the reference interpreter, in double precision.</summary>
internal static class GradientCheck
{
    private const double Step = 1e-6;
    private const double AbsoluteTolerance = 1e-5;
    private const double RelativeTolerance = 1e-3;

    /// <summary>A graph whose only output is a scalar <c>loss</c>: the sum of all outputs, each weighted by random numbers of its own.</summary>
    public static ModelGraph WithLoss(ModelGraph graph)
    {
        var b = new GraphBuilder();
        ValueMap map = b.Import(graph);
        Value? loss = null;
        foreach (GraphOutput output in graph.Outputs)
        {
            Value y = map[output.Value];
            Value weighted = b.Add(new Multiply(), output.Name + ".weighted", y, b.Add(new Input("weights." + output.Name, y.Type, 0), "weights"));
            Value row = b.Add(new Reshape(Shape.Of(1, (int)y.Shape.MaximumElements)), output.Name + ".row", weighted);
            Value sum = b.Add(new RowSum(), output.Name + ".sum", row);
            loss = loss is { } l ? b.Add(new Add(), "loss", l, sum) : sum;
        }

        b.Output("loss", loss ?? throw new ArgumentException("The graph has no output.", nameof(graph)));
        return b.Build();
    }

    /// <summary>What the compiler does between a bound forward graph and the training graph, verified after each step.</summary>
    public static ModelGraph Differentiate(ModelGraph graph)
    {
        ModelGraph expanded = Verified(ExpandComposites.BeforeDifferentiation(graph), "expansion");
        ModelGraph saved = Verified(ScanMotion.SaveForBackward(expanded), "saving");
        return Verified(ReverseMode.Differentiate(saved, "loss"), "differentiation");
    }

    public static ModelGraph Verified(ModelGraph graph, string after)
    {
        GraphVerifier.Verify(graph, after);
        return graph;
    }

    /// <summary>
    /// Checks the gradient of the output <c>loss</c> of a bound forward graph for every parameter; of a larger one at
    /// <paramref name="elementsPerParameter"/> elements that are drawn from a seed.
    /// </summary>
    public static void Run(ModelGraph graph, RunArguments run, string what, int elementsPerParameter = 64)
    {
        ModelGraph gradients = Differentiate(graph);
        RunResults direct = ReferenceInterpreter.Run(gradients, run);
        Dictionary<string, (int Element, double Difference)[]> numeric = CentralDifferences(graph, run, elementsPerParameter);
        Compare(numeric, run, direct, what);

        ModelGraph simplified = Verified(Simplify.Run(gradients), "simplification");
        Same(direct, ReferenceInterpreter.Run(simplified, run), 1e-12, what + ", simplified");
        ModelGraph moved = Verified(Simplify.Run(Verified(ScanMotion.Run(simplified), "motion")), "simplification after motion");
        Same(direct, ReferenceInterpreter.Run(moved, run), 1e-10, what + ", with work moved out of scans");
    }

    /// <summary>Requires the same outputs, states and gradients, up to a tolerance relative to the larger of one and the value.</summary>
    public static void Same(RunResults expected, RunResults actual, double tolerance, string what)
    {
        Same(expected.Outputs, actual.Outputs, tolerance, what + ": output");
        Same(expected.State, actual.State, tolerance, what + ": state");
        Same(expected.Gradients, actual.Gradients, tolerance, what + ": gradient");
    }

    public static void Same(IReadOnlyDictionary<string, Tensor> expected, IReadOnlyDictionary<string, Tensor> actual, double tolerance, string what)
    {
        Assert.Equal(expected.Keys.Order(), actual.Keys.Order());
        foreach ((string name, Tensor tensor) in expected)
        {
            Near(tensor, actual[name], tolerance, tolerance, $"{what} {name}");
        }
    }

    public static void Near(Tensor expected, Tensor actual, double absolute, double relative, string what)
    {
        Assert.True(expected.Data.Length == actual.Data.Length, $"{what}: {actual} for {expected}.");
        for (int i = 0; i < expected.Data.Length; i++)
        {
            double e = expected.Data[i];
            double a = actual.Data[i];
            if (!(Math.Abs(e - a) <= absolute + (relative * Math.Abs(e))))
            {
                Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"{what}: element {i} of [{string.Join(", ", expected.Dims)}] is {a:R}, expected {e:R}."));
            }
        }
    }

    private static void Compare(Dictionary<string, (int Element, double Difference)[]> numeric, RunArguments run, RunResults derived, string what)
    {
        foreach ((string parameter, (int Element, double Difference)[] elements) in numeric)
        {
            derived.Gradients.TryGetValue(parameter, out Tensor? gradient);
            if (gradient is not null)
            {
                Assert.True(gradient.Dims.SequenceEqual(run.Parameters[parameter].Dims), $"{what}: the gradient of {parameter} is [{string.Join(", ", gradient.Dims)}].");
            }

            foreach ((int element, double difference) in elements)
            {
                // A parameter that the loss does not depend on has no gradient.
                double value = gradient?.Data[element] ?? 0;
                double expected = difference * run.GradientScale;
                if (!(Math.Abs(value - expected) <= AbsoluteTolerance + (RelativeTolerance * Math.Abs(expected))))
                {
                    Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"{what}: the gradient of {parameter} at element {element} is {value:R}, its central difference {expected:R}."));
                }
            }
        }
    }

    private static Dictionary<string, (int Element, double Difference)[]> CentralDifferences(ModelGraph graph, RunArguments run, int elementsPerParameter)
    {
        var random = new Random(17);
        var result = new Dictionary<string, (int Element, double Difference)[]>();
        foreach (string name in graph.Nodes.Select(n => n.Op).OfType<Parameter>().Where(p => !p.IsTable).Select(p => p.ParameterName).Distinct())
        {
            double[] data = run.Parameters[name].Data;
            int[] elements = Enumerable.Range(0, data.Length).ToArray();
            if (elements.Length > elementsPerParameter)
            {
                random.Shuffle(elements);
                elements = elements[..elementsPerParameter];
            }

            result.Add(name, [.. elements.Select(e =>
            {
                double kept = data[e];
                data[e] = kept + Step;
                double above = Loss();
                data[e] = kept - Step;
                double below = Loss();
                data[e] = kept;
                return (e, (above - below) / (2 * Step));
            })]);
        }

        return result;

        double Loss() => ReferenceInterpreter.Run(graph, run).Outputs["loss"].Data[0];
    }
}
