using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Tests.Compiler;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Ptx;

namespace ModelGen.Tests.Snapshots;

/// <summary>What a device's module looks like.</summary>
public sealed class DeviceModuleTests
{
    /// <summary>A projection and the residual connection around it, which is in the epilogue of the product.</summary>
    [Fact]
    public void Residual_of_a_single_row() => Snapshot.Verify(
        PtxFunction.Compile(KernelCases.Prepare(OperatorCases.Case("residual", b =>
        {
            Value x = OperatorCases.Parameter(b, "x", 1, 48);
            Value product = b.Add(new MatMul(MatMulForm.NT), "product", x, OperatorCases.Parameter(b, "weight", 48, 48));
            return [b.Add(new Add(), "residual", x, b.Add(new Add(), "biased", product, OperatorCases.Parameter(b, "bias", 48)))];
        }).Graph)).Module);

    /// <summary>Several rows in bfloat16, on tensor cores.</summary>
    [Fact]
    public void Rows_on_tensor_cores() => Snapshot.Verify(
        PtxFunction.Compile(
            KernelCases.Prepare(OperatorCases.Case("projection", b =>
            {
                Value product = b.Add(new MatMul(MatMulForm.NT), "product", OperatorCases.Parameter(b, "x", 96, 64), OperatorCases.Parameter(b, "weight", 96, 64));
                return [b.Add(new Relu(), "activated", b.Add(new Add(), "biased", product, OperatorCases.Parameter(b, "bias", 96)))];
            }).Graph),
            precision: global::ModelGen.Compiler.CudaPrecision.BF16).Module);
}
