using ModelGen.Tests.Compiler;

namespace ModelGen.Tests.Ptx;

/// <summary>What is emitted for a device, for every operator and every family's step, forwards and backwards, against the reference interpreter.</summary>
public sealed class PtxKernelTests
{
    public static TheoryData<string> Forward => [.. KernelCases.Forward.Keys];

    public static TheoryData<string> Backward => [.. KernelCases.Backward.Keys];

    [Theory]
    [MemberData(nameof(Forward))]
    public void A_device_computes_what_the_graph_means(string name) => Check(KernelCases.Forward[name]);

    [Theory]
    [MemberData(nameof(Backward))]
    public void A_devices_gradients_are_those_of_the_graph(string name) => Check(KernelCases.Backward[name]);

    private static void Check(KernelCase c)
    {
        PtxFunction function = PtxFunction.Compile(c.Graph);
        RunResults expected = ReferenceInterpreter.Run(c.Graph, c.Run), actual = function.Run(c.Run);
        KernelCheck.Near(expected, actual, c.Tolerance, c.Name);
        GradientCheck.Same(actual, function.Run(c.Run), 0, $"{c.Name}, once more");
        if (expected.Gradients.Count > 0)
        {
            RunResults twice = function.Run(c.Run, actual.Gradients);
            foreach ((string name, Tensor gradient) in expected.Gradients)
            {
                double largest = gradient.Data.Max(Math.Abs);
                GradientCheck.Near(new Tensor(gradient.Dims, [.. gradient.Data.Select(x => 2 * x)]), twice.Gradients[name], c.Tolerance * Math.Max(1, 2 * largest), 0, $"{c.Name}: gradient {name}, accumulated");
            }
        }
    }
}
