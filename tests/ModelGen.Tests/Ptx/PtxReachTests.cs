using System.Globalization;
using System.Runtime.InteropServices;
using ModelGen.Compiler.Emit.Ptx;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Tests.Ptx;

/// <summary>Elements further away than 32 bits count, and the text that modules are written in.</summary>
public sealed unsafe class PtxReachTests
{
    // Of all sequences' states only those of this one are memory: a distance that has lost its upper bits is found out.
    private const int Sequence = 150;

    private const int Near = 40;

    public static TheoryData<string, int> Kernels()
    {
        var data = new TheoryData<string, int>();
        foreach (string name in new[] { "scatter", "scatter to positions", "embedding", "attention", "attention weights" })
        {
            // The caches of GPT-2 with 124 million parameters and 1,024 positions; and those whose bytes alone need more than 32 bits.
            data.Add(name, 18_900_000);
            data.Add(name, 600_000_000);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Sequences_far_into_a_batch_are_found(string name, int stride)
    {
        float[][] near = Run(Of(name, Near), Near), far = Run(Of(name, stride), stride);
        Assert.Equal(near, far);
        Assert.NotEqual(near, Data(Of(name, Near)));
    }

    [Fact]
    public void What_threads_cannot_count_is_refused()
    {
        Kernel Map(int rows) => new RowKernel("map", [Operand("input", [0], 0, false), Operand("output", [40_000], 1, true)], [RowExtent.Literal(rows)], 40_000, [new RowPhase([], [new Store(1, new OperandExpr(0), StoreMode.Replace)])], 0, 0);
        Compile(Map(50_000));
        DeviceLimitException exception = Assert.Throws<DeviceLimitException>(() => Compile(Map(60_000)));
        Assert.Contains("output is 2400000000 elements to map, and a device's threads count to 2147483647", exception.Message, StringComparison.Ordinal);
    }

    /// <summary>A grid that is higher than a device's may be is laid out along its other dimension, and computes the same bits.</summary>
    [Fact]
    public void Grids_may_be_as_high_as_they_are_wide()
    {
        Kernel Product() => new MatMulKernel("product", [Operand("a", [3], 1, false), Operand("b", [3], 1, false), Operand("output", [9], 1, true)], MatMulForm.NT, RowExtent.Literal(4), 9, 3, [new Store(2, new AccumulatorExpr(), StoreMode.Replace)], 0, 0) { RowByRow = true };
        CudaLaunch high = Assert.Single(Compile(Product()).Device.Launches), wide = Assert.Single(Compile(Product(), mostRows: 3).Device.Launches);
        Assert.Equal(((2, 4), (8, 1)), (high.Blocks, wide.Blocks));
        Assert.Equal(Run(Product(), Near), Run(Product(), Near, mostRows: 3));
        Assert.NotEqual(Run(Product(), Near), Data(Product()));
    }

    [Fact]
    public void A_module_is_ascii_whatever_its_comments_say()
    {
        string text = new PtxWriter().Entry("E", "größer: 2\u00B7batch\nret;\u007F", 32);
        Assert.StartsWith("// gr??er: 2*batch?ret;?\n.visible", text, StringComparison.Ordinal);
        const string Header = ".version 7.0\n.target sm_80\n.address_size 64\n";
        PtxEntryPoint.Read(Header + text);
        Assert.Contains("U+00B7", Assert.Throws<PtxException>(() => PtxEntryPoint.Read(Header + "// \u00B7\n" + text)).Message, StringComparison.Ordinal);
        Assert.Contains("1E is no name", Assert.Throws<PtxException>(() => PtxEntryPoint.Read(Header + text.Replace("entry E", "entry 1E", StringComparison.Ordinal))).Message, StringComparison.Ordinal);
        Assert.Contains("cannot be read", Assert.Throws<PtxException>(() => PtxEntryPoint.Read(Header + text.Replace(".maxntid 32, 1, 1", "", StringComparison.Ordinal))).Message, StringComparison.Ordinal);
    }

    private static Kernel Of(string name, int stride)
    {
        var range = KeyRange.All with { HasSequences = true };
        var op = new Attention(2, 1, 4, 0.5, range);
        RowExtent one = RowExtent.Literal(1), two = RowExtent.Literal(2), three = RowExtent.Literal(3);
        return name switch
        {
            "scatter" => new ScatterKernel(name, [Operand("input", [5], 1, false), Operand("states", [stride], 1, true), Indices("sequences")], one, 5, Sequence + 1, 1, 0, 0),
            "scatter to positions" => new ScatterKernel(name, [Operand("input", [5], 1, false), Operand("states", [stride], 1, true), Indices("sequences"), Indices("positions")], two, 5, Sequence + 1, 4, 5, 0),
            "embedding" => new EmbeddingKernel(name, [Operand("states", [stride], 1, false), Indices("sequences"), Operand("output", [5], 1, true)], two, 5, 0),
            "attention" => new AttentionKernel(name, [Operand("q", [8], 1, false), Operand("states", [4], 1, false), Operand("states", [4], 1, false), Operand("output", [8], 1, true), Indices("sequences")], op, one, two, three, false, 0, 0) { Caches = Sequence + 1, CacheStride = stride },
            _ => new AttentionWeightsKernel(name, [Operand("q", [8], 1, false), Operand("states", [4], 1, false), Operand("logsumexp", [2], 1, false), Operand("output", [3], 1, true), Indices("sequences")], op, one, two, three, 3, 0, 0) { Caches = Sequence + 1, CacheStride = stride },
        };
    }

    private static KernelOperand Operand(string name, int[] rowStrides, int columnStride, bool isWritten)
        => new(name, new View(new PlanBuffer(name, MemorySpace.Arena, StorageFormat.Float32, Near), 0), new Access(StorageFormat.Float32, [.. rowStrides.Select(RowExtent.Literal)], columnStride), isWritten);

    private static KernelOperand Indices(string name)
        => new(name, new View(new PlanBuffer(name, MemorySpace.Arena, StorageFormat.Int32, Near), 0), Access.Matrix(1, StorageFormat.Int32), IsWritten: false);

    private static (CudaProgram Device, string Module) Compile(Kernel kernel, int mostRows = 65_535)
    {
        var module = new CudaModule { MostRows = mostRows };
        CudaProgram device = module.Add(new KernelProgram([kernel], new Dictionary<string, View>(), new Dictionary<string, View>(), [], []));
        return (device, module.Text);
    }

    /// <summary>What each operand's memory holds at first: of sequences their number, of positions those of two rows.</summary>
    private static float[][] Data(Kernel kernel) => [.. kernel.Operands.Select((operand, i) => operand.Name switch
    {
        "sequences" => Enumerable.Repeat(BitConverter.Int32BitsToSingle(Sequence), 2).ToArray(),
        "positions" => [BitConverter.Int32BitsToSingle(3), BitConverter.Int32BitsToSingle(1)],
        _ => [.. Enumerable.Range(0, Near).Select(n => MathF.Sin(n + (10 * i)))],
    })];

    /// <summary>Runs a kernel, and gives what its operands' memory holds behind it.</summary>
    private static float[][] Run(Kernel kernel, int stride, int mostRows = 65_535)
    {
        (CudaProgram device, string text) = Compile(kernel, mostRows);
        Dictionary<string, PtxEntryPoint> entries = PtxEntryPoint.Read(text);
        float[][] data = Data(kernel);
        var machine = new PtxMachine();
        GCHandle[] pinned = [.. data.Select(d => GCHandle.Alloc(d, GCHandleType.Pinned))];
        try
        {
            for (int i = 0; i < data.Length; i++)
            {
                machine.Allow((void*)pinned[i].AddrOfPinnedObject(), data[i].Length * sizeof(float), kernel.Operands[i].Name);
            }

            foreach (CudaLaunch launch in device.Launches)
            {
                byte[] parameters = [.. launch.Parameters.SelectMany(name =>
                {
                    int operand = int.Parse(name.AsSpan(1), CultureInfo.InvariantCulture);
                    long address = pinned[operand].AddrOfPinnedObject();
                    return BitConverter.GetBytes(kernel.Operands[operand].Name == "states" ? address - ((long)Sequence * stride * sizeof(float)) : address);
                })];
                machine.Launch(entries[launch.Entry], launch.Blocks.X, launch.Blocks.Y, launch.Threads, parameters);
            }
        }
        finally
        {
            foreach (GCHandle each in pinned)
            {
                each.Free();
            }
        }

        return data;
    }
}
