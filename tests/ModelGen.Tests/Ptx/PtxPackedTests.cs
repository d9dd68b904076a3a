using ModelGen.Compiler;
using ModelGen.Compiler.Emit.Ptx;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cuda;
using ModelGen.Runtime;
using ModelGen.Tests.Compiler;
using Format = ModelGen.WeightFormat;
using Rounding = ModelGen.Compiler.CudaPrecision;

namespace ModelGen.Tests.Ptx;

/// <summary>Weights that lie packed in a device's memory: every product and lookup that reads them, against the interpreter over the numbers that they stand for.</summary>
public sealed unsafe class PtxPackedTests
{
    private static readonly Format[] Formats = [Format.F16, Format.BF16, Format.Q8_0, Format.Q4_0];

    /// <summary>Sizes of one, of odd rows and columns, of groups that are not full, of more blocks of columns than warps take in a turn; those of quantized rows are whole blocks.</summary>
    public static TheoryData<string, string, string, int, int, int> Sizes()
    {
        var data = new TheoryData<string, string, string, int, int, int>();
        foreach (Format format in Formats)
        {
            bool isHalf = format is Format.F16 or Format.BF16;
            foreach ((int rows, int depth, int columns) in new[] { (1, 32, 16), (1, 96, 5), (1, 288, 33), (1, 544, 47), (1, 64, 130) }.Concat(isHalf ? [(1, 1, 1), (1, 35, 9), (1, 70, 3), (1, 300, 17), (1, 24, 8)] : []))
            {
                data.Add(format.ToString(), nameof(MatMulForm.NT), nameof(Rounding.F32), rows, depth, columns);
            }

            foreach (Rounding precision in Enum.GetValues<Rounding>())
            {
                foreach ((int rows, int depth, int columns) in new[] { (2, 32, 16), (65, 96, 67), (7, 160, 130) }.Concat(isHalf ? [(3, 35, 9), (67, 34, 65), (5, 68, 12)] : []))
                {
                    data.Add(format.ToString(), nameof(MatMulForm.NT), precision.ToString(), rows, depth, columns);
                }

                foreach ((int rows, int depth, int columns) in new[] { (1, 16, 32), (2, 5, 64), (65, 33, 96), (9, 70, 160) }.Concat(isHalf ? [(3, 35, 9), (66, 17, 66)] : []))
                {
                    data.Add(format.ToString(), nameof(MatMulForm.NN), precision.ToString(), rows, depth, columns);
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Packed_weights_are_multiplied(string format, string form, string precision, int rows, int depth, int columns)
    {
        Rounding rounded = Enum.Parse<Rounding>(precision);
        MatMulForm of = Enum.Parse<MatMulForm>(form);
        ModelGraph graph = Product(of, rows, depth, columns);
        RunArguments run = CaseData.Random(graph, rows + depth + columns);
        foreach (int tile in rounded == Rounding.F32 || rows == 1 ? new[] { -1 } : [0, 1, 2])
        {
            PtxFunction function = PtxFunction.Compile(graph, products: tile < 0 ? null : kernel => Assert.IsType<TensorTiles>(CudaProductPlan.Of(kernel, rounded)) with { Tile = TensorTile.For(rounded)[tile] }, precision: rounded, formats: Of(graph, format, "b"));
            Pack(function, run, "b", Enum.Parse<Format>(format), of == MatMulForm.NT ? columns : depth);
            RunResults expected = ReferenceInterpreter.Run(graph, run), actual = function.Run(run);
            KernelCheck.Near(expected, actual, rounded switch { Rounding.F32 => 1e-5, Rounding.TF32 => 1e-3, _ => 1e-2 }, $"{format} {form} {precision} {rows}x{depth}x{columns}, tile {tile}");
            GradientCheck.Same(actual, function.Run(run), 0, "once more");
        }
    }

    [Theory]
    [InlineData("F16", 7)]
    [InlineData("BF16", 33)]
    [InlineData("Q8_0", 64)]
    [InlineData("Q4_0", 96)]
    public void Rows_of_a_packed_table_are_looked_up(string format, int columns)
    {
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("embedding", b => [b.Add(new Embedding(), "y", OperatorCases.Parameter(b, "b", 37, columns), OperatorCases.Indices(b, "indices", 37, 50))]).Graph);
        RunArguments run = CaseData.Random(graph, columns);
        PtxFunction function = PtxFunction.Compile(graph, formats: Of(graph, format, "b"));
        Pack(function, run, "b", Enum.Parse<Format>(format), 37);
        KernelCheck.Near(ReferenceInterpreter.Run(graph, run), function.Run(run), 1e-6, format);
    }

    /// <summary>Rows that each meet the matrix of an expert: whole groups and odd columns, more blocks than warps take in a turn, and the other way round as adapters' gradients have it.</summary>
    [Theory]
    [InlineData("F16", false, 9, 35)]
    [InlineData("F16", false, 16, 72)]
    [InlineData("F16", true, 7, 21)]
    [InlineData("BF16", false, 5, 34)]
    [InlineData("BF16", true, 16, 32)]
    [InlineData("Q8_0", false, 48, 96)]
    [InlineData("Q8_0", false, 16, 288)]
    [InlineData("Q8_0", true, 32, 64)]
    [InlineData("Q4_0", false, 32, 544)]
    [InlineData("Q4_0", true, 16, 96)]
    public void Packed_matrices_of_experts_are_multiplied(string format, bool transposed, int matrixRows, int matrixColumns)
    {
        const int Experts = 4, Rows = 11;
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("experts", b =>
            [b.Add(new ExpertMatMul(transposed), "y", OperatorCases.Parameter(b, "x", Rows, transposed ? matrixRows : matrixColumns), OperatorCases.Parameter(b, "b", Experts, matrixRows, matrixColumns), OperatorCases.Indices(b, "experts", Experts, Rows))]).Graph);
        RunArguments run = CaseData.Random(graph, matrixRows);
        PtxFunction function = PtxFunction.Compile(graph, formats: Of(graph, format, "b"));
        Pack(function, run, "b", Enum.Parse<Format>(format), Experts * matrixRows);
        RunResults expected = ReferenceInterpreter.Run(graph, run), actual = function.Run(run);
        KernelCheck.Near(expected, actual, 1e-5, $"{format} {matrixRows}x{matrixColumns}");
        GradientCheck.Same(actual, function.Run(run), 0, "once more");
    }

    /// <summary>What a row reads of the weights: their packed bytes, each once, and no more.</summary>
    [Theory]
    [InlineData("Q8_0", 16)]
    [InlineData("Q4_0", 16)]
    [InlineData("F16", 16)]
    public void A_single_row_reads_vectors(string format, int bytes)
    {
        ModelGraph graph = Product(MatMulForm.NT, 1, 256, 64);
        string module = PtxFunction.Compile(graph, formats: Of(graph, format, "b")).Module;
        Assert.Contains(FormattableString.Invariant($"ld.global.v{bytes / 4}.u32"), module, StringComparison.Ordinal);
        Assert.DoesNotContain("ld.global.u8", module, StringComparison.Ordinal);
    }

    /// <summary>The sums of a group's warps meet behind a barrier, and factors that pass through registers beside those that are copied past them: where one is missing the machine says so.</summary>
    [Theory]
    [InlineData("Q8_0", "F32", 1, 64, 40)]
    [InlineData("Q4_0", "TF32", 70, 128, 67)]
    [InlineData("BF16", "BF16", 70, 160, 67)]
    [InlineData("F16", "F32", 70, 48, 67)]
    public void A_barrier_that_is_left_out_is_found(string format, string precision, int rows, int depth, int columns)
    {
        const string Barrier = "\tbar.sync 0;\n";
        ModelGraph graph = Product(MatMulForm.NT, rows, depth, columns);
        RunArguments run = CaseData.Random(graph, 3);
        PtxFunction Compile(Func<string, string>? edit) => PtxFunction.Compile(graph, edit, precision: Enum.Parse<Rounding>(precision), formats: Of(graph, format, "b"));
        int there = Compile(null).Module.Split(Barrier).Length - 1;
        Assert.True(there > 0);
        for (int i = 0; i < there; i++)
        {
            int left = i;
            PtxFunction function = Compile(module =>
            {
                string[] parts = module.Split(Barrier);
                return string.Concat(parts.Select((part, j) => j == parts.Length - 1 || j == left ? part : part + Barrier));
            });
            Pack(function, run, "b", Enum.Parse<Format>(format), columns);
            Assert.Throws<PtxException>(() => function.Run(run));
        }
    }

    /// <summary>A thread that writes a half of a word beside another's is no danger to it, and one that writes the same half is.</summary>
    [Theory]
    [InlineData("2", null)]
    [InlineData("4", null)]
    [InlineData("0", "two threads write")]
    public void Halves_of_words_are_told_apart(string stride, string? fault)
    {
        PtxEntryPoint entry = PtxEntryPoint.Read($$"""
            .version 7.0
            .target sm_80
            .address_size 64
            .visible .entry Halves(
            	.param .u64 p0
            )
            .maxntid 32, 1, 1
            {
            	.reg .f32 %f<2>;
            	.reg .b32 %r<4>;
            	.reg .b64 %rd<4>;
            	.reg .b16 %h<4>;
            	ld.param.u64 %rd0, [p0];
            	cvta.to.global.u64 %rd1, %rd0;
            	mov.u32 %r0, %tid.x;
            	mul.wide.s32 %rd2, %r0, {{stride}};
            	add.s64 %rd3, %rd1, %rd2;
            	cvt.rn.f32.s32 %f0, %r0;
            	cvt.rn.f16.f32 %h0, %f0;
            	st.global.b16 [%rd3], %h0;
            EXIT:
            	ret;
            }
            """)["Halves"];
        uint[] words = new uint[32];
        fixed (uint* memory = words)
        {
            var machine = new PtxMachine();
            machine.Allow(memory, sizeof(uint) * words.Length, "halves");
            byte[] parameters = BitConverter.GetBytes((ulong)memory);
            if (fault is null)
            {
                machine.Launch(entry, 1, 1, 32, parameters);
                Assert.Equal((Half)31, BitConverter.UInt16BitsToHalf(((ushort*)memory)[31 * int.Parse(stride, System.Globalization.CultureInfo.InvariantCulture) / 2]));
            }
            else
            {
                Assert.Contains(fault, Assert.Throws<PtxException>(() => machine.Launch(entry, 1, 1, 32, parameters)).Message, StringComparison.Ordinal);
            }
        }
    }

    private static IReadOnlyDictionary<string, StorageFormat> Of(ModelGraph graph, string format, string name)
    {
        int columns = graph.NodesOf<Parameter>().Select(n => (Parameter)n.Op).First(p => p.ParameterName == name).Shape.Columns;
        StorageFormat stored = format switch
        {
            "F16" => StorageFormat.Float16,
            "BF16" => StorageFormat.BFloat16,
            "Q8_0" => StorageFormat.InGroups("Q8_0", columns, 32),
            _ => StorageFormat.InGroups("Q4_0", columns, 16),
        };
        Assert.True(PtxPacked.IsKnown(stored));
        return new Dictionary<string, StorageFormat> { [name] = stored };
    }

    /// <summary>Rounds a parameter to a format, and makes it the numbers that the rounded ones stand for.</summary>
    private static void Pack(PtxFunction function, RunArguments run, string name, Format format, int rows)
    {
        double[] data = run.Parameters[name].Data;
        int columns = data.Length / rows;
        var parameter = new ParameterInfo(name, [rows, columns], 0, false, ParameterInitializerKind.Zeros, 0, false) { Format = format };
        byte[] packed = new byte[BlockRows.Bytes(format, [rows, columns])];
        fixed (byte* target = packed)
        {
            PackedFiles.Fill(parameter, target, (row, values) =>
            {
                for (int i = 0; i < columns; i++)
                {
                    values[i] = (float)data[(row * columns) + i];
                }
            });
            float[] read = new float[columns];
            fixed (float* to = read)
            {
                for (int row = 0; row < rows; row++)
                {
                    BlockRows.Read(format, target, row, columns, to);
                    for (int i = 0; i < columns; i++)
                    {
                        data[(row * columns) + i] = read[i];
                    }
                }
            }
        }

        function.Packed[name] = packed;
    }

    private static ModelGraph Product(MatMulForm form, int m, int k, int n) => KernelCases.Prepare(OperatorCases.Case("product", b =>
    {
        Value y = form == MatMulForm.NT ? OperatorCases.Parameter(b, "b", n, k) : OperatorCases.Parameter(b, "b", k, n);
        Value product = b.Add(new MatMul(form), "product", OperatorCases.Parameter(b, "a", m, k), y);
        return [b.Add(new Gelu(), "activated", b.Add(new Add(), "biased", product, OperatorCases.Parameter(b, "bias", n))), product];
    }).Graph);
}
