using System.Globalization;
using System.Runtime.InteropServices;
using ModelGen.Compiler;
using ModelGen.Compiler.Emit.Ptx;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Compiler.Targets.Cuda;
using ModelGen.Tests.Compiler;
using Rounding = ModelGen.Compiler.CudaPrecision;
using RoundingMode = ModelGen.Compiler.CudaRounding;
using Which = ModelGen.Compiler.CudaProducts;

namespace ModelGen.Tests.Ptx;

/// <summary>Matrix products on tensor cores, against the interpreter in double precision.</summary>
public sealed class PtxProductTests
{
    private static readonly Rounding[] Precisions = [Rounding.TF32, Rounding.BF16];

    /// <summary>Every form with every tile, at sizes of one, of primes, and around those of tiles and of what a stage holds.</summary>
    public static TheoryData<string, string, int, int, int, int> Sizes()
    {
        var data = new TheoryData<string, string, int, int, int, int>();
        foreach (Rounding precision in Precisions)
        {
            for (int i = 0; i < TensorTile.For(precision).Count; i++)
            {
                TensorTile tile = TensorTile.For(precision)[i];
                (int m, int d, int n) = (tile.Rows, tile.Depth, tile.Columns);
                foreach ((int rows, int depth, int columns) in new[] { (1, 1, 1), (2, d, 3), (7, 13, 5), (m - 1, d + 1, n + 1), (m + 1, (3 * d) - 1, n - 1), (m, 4 * d, n), (m + 4, d - 4, 4), (6, (5 * d) + 2, n + 6), (23, 2 * d, 41), (m < 64 ? 300 : 3, d, m < 64 ? 140 : 5) })
                {
                    foreach (MatMulForm form in Enum.GetValues<MatMulForm>())
                    {
                        data.Add(precision.ToString(), form.ToString(), i, rows, depth, columns);
                    }
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Tensor_cores_multiply(string precision, string form, int tile, int rows, int depth, int columns)
    {
        Rounding rounded = Enum.Parse<Rounding>(precision);
        ModelGraph graph = Product(Enum.Parse<MatMulForm>(form), rows, depth, columns);
        PtxFunction function = PtxFunction.Compile(graph, products: kernel => With(kernel, rounded, TensorTile.For(rounded)[tile]));
        Assert.Contains("mma.sync", function.Module, StringComparison.Ordinal);
        RunArguments run = CaseData.Random(graph, rows + depth + columns);
        RunResults expected = ReferenceInterpreter.Run(graph, run), actual = function.Run(run);
        KernelCheck.Near(expected, actual, Tolerance(rounded), $"{precision} {form} {rows}x{depth}x{columns}");
        GradientCheck.Same(actual, function.Run(run), 0, "once more");
    }

    /// <summary>The products of GPT-2 with 16,384 and with 256 rows: tiles as large as still give every multiprocessor one, accesses as wide as rows are even.</summary>
    [Theory]
    [InlineData("NT", 16_384, 768, 2_304, 128, 4, 4)]
    [InlineData("NT", 16_384, 768, 50_257, 128, 4, 4)]
    [InlineData("NN", 16_384, 50_257, 768, 128, 1, 4)]
    [InlineData("TN", 50_257, 16_384, 768, 128, 1, 4)]
    [InlineData("TN", 768, 16_384, 768, 64, 4, 4)]
    [InlineData("NT", 256, 768, 3_072, 64, 4, 4)]
    [InlineData("NT", 256, 768, 768, 32, 4, 4)]
    [InlineData("NT", 2, 6, 3, 32, 2, 2)]
    public void Tiles_are_chosen_by_how_many_there_are(string form, int rows, int depth, int columns, int tile, int left, int right)
    {
        MatMulForm of = Enum.Parse<MatMulForm>(form);
        KernelOperand Operand(string name, int stride, bool isWritten = false) => new(name, new View(new PlanBuffer(name, MemorySpace.Arena, StorageFormat.Float32, 1), 0), Access.Matrix(stride), isWritten);
        var kernel = new MatMulKernel(
            "product", [Operand("a", of == MatMulForm.TN ? rows : depth), Operand("b", of == MatMulForm.NT ? depth : columns), Operand("c", columns, isWritten: true)], of, RowExtent.Literal(rows), columns, depth, [new Store(2, new AccumulatorExpr(), StoreMode.Replace)], 0, 0);
        foreach (Rounding precision in Precisions)
        {
            TensorTiles plan = Assert.IsType<TensorTiles>(CudaProductPlan.Of(kernel, precision));
            Assert.Equal((tile, left, right), (plan.Tile.Rows, plan.LeftVector, plan.RightVector));
            Assert.Equal(tile == 64 ? 128 : 256, plan.Tile.Threads);
        }

        Assert.IsType<RegisterTiles>(CudaProductPlan.Of(kernel, Rounding.F32));
    }

    /// <summary>Products of equal factors, as of layers, that share one entry draw for themselves, each the same in every run.</summary>
    [Fact]
    public void Products_of_one_entry_draw_for_themselves()
    {
        ModelGraph graph = KernelCases.Prepare(OperatorCases.Case("two layers", b =>
        {
            Value x = OperatorCases.Parameter(b, "x", 35, 44);
            return [.. new[] { "a", "b" }.Select(name => b.Add(new MatMul(MatMulForm.NT), name + ".product", x, OperatorCases.Parameter(b, name, 23, 44)))];
        }).Graph);
        RunArguments run = CaseData.Random(graph, 5);
        run.Parameters["a"].Data.CopyTo(run.Parameters["b"].Data, 0);
        PtxFunction nearest = PtxFunction.Compile(graph, precision: Rounding.BF16), drawn = PtxFunction.Compile(graph, precision: Rounding.BF16, rounding: RoundingMode.Stochastic);
        Assert.Single(drawn.Device.Launches.Select(launch => launch.Entry).Distinct());
        RunResults expected = nearest.Run(run), actual = drawn.Run(run);
        Assert.Equal(expected.Outputs.Values.First().Data, expected.Outputs.Values.Last().Data);
        Assert.NotEqual(actual.Outputs.Values.First().Data, actual.Outputs.Values.Last().Data);
        GradientCheck.Same(actual, drawn.Run(run), 0, "once more");
    }

    /// <summary>
    /// Rounding that is drawn: a factor times the unit matrix is what it was rounded to. That is one of the two numbers around, what has eight bits stays, the mean over seeds is the number itself, and every block that reads a number rounds it the same.
    /// </summary>
    [Theory]
    [InlineData("NN", 0)]
    [InlineData("NT", 1)]
    [InlineData("TN", 2)]
    public void Rounding_is_right_on_average(string form, int tile)
    {
        const int Rows = 35, Depth = 44, Seeds = 40;
        MatMulForm of = Enum.Parse<MatMulForm>(form);
        TensorTile tiles = TensorTile.For(Rounding.BF16)[tile];
        int columns = Depth + tiles.Columns;
        ModelGraph graph = Product(of, Rows, Depth, columns);
        PtxFunction function = PtxFunction.Compile(graph, products: kernel => With(kernel, Rounding.BF16, tiles), rounding: RoundingMode.Stochastic);
        RunArguments run = CaseData.Random(graph, 5);
        double[] factor = run.Parameters["a"].Data, unit = run.Parameters["b"].Data;
        Array.Clear(unit);

        // The unit matrix twice, at columns that other blocks have.
        for (int d = 0; d < Depth; d++)
        {
            foreach (int column in (int[])[d, d + tiles.Columns])
            {
                unit[of == MatMulForm.NT ? (column * Depth) + d : (d * columns) + column] = 1;
            }
        }

        factor[3] = 1.5;
        double[] sums = new double[Rows * Depth];
        double[]? before = null;
        int others = 0;
        for (int seed = 0; seed < Seeds; seed++)
        {
            RunArguments each = run with { Seed = 77UL * (ulong)seed };
            double[] product = function.Run(each).Outputs["y1"].Data;
            for (int r = 0; r < Rows; r++)
            {
                for (int d = 0; d < Depth; d++)
                {
                    float exact = (float)factor[of == MatMulForm.TN ? (d * Rows) + r : (r * Depth) + d];
                    int bits = BitConverter.SingleToInt32Bits(exact);
                    float towardsZero = BitConverter.Int32BitsToSingle(bits & ~0xFFFF), away = BitConverter.Int32BitsToSingle((bits & ~0xFFFF) + ((bits & 0xFFFF) == 0 ? 0 : 0x10000));
                    double rounded = product[(r * columns) + d];
                    Assert.True(rounded == towardsZero || rounded == away, FormattableString.Invariant($"{exact} became {rounded}, not {towardsZero} or {away}"));
                    Assert.Equal(rounded, product[(r * columns) + d + tiles.Columns]);

                    // In units of what lies between both.
                    sums[(r * Depth) + d] += away == towardsZero ? 0 : (rounded - exact) / Math.Abs(away - towardsZero);
                }
            }

            others += before is not null && !before.SequenceEqual(product) ? 1 : 0;
            before = product;
            if (seed == 0)
            {
                Assert.Equal(product, function.Run(each).Outputs["y1"].Data);
            }
        }

        // A draw's deviation is at most one half, so that a mean over so many is within five of its own.
        Assert.Equal(Seeds - 1, others);
        Assert.All(sums, sum => Assert.InRange(sum / Seeds, -2.5 / Math.Sqrt(Seeds), 2.5 / Math.Sqrt(Seeds)));
        Assert.InRange(sums.Sum() / (Seeds * sums.Length), -2.5 / Math.Sqrt(Seeds * sums.Length), 2.5 / Math.Sqrt(Seeds * sums.Length));
    }

    /// <summary>What is no number stays none, and an infinity one, whatever is drawn.</summary>
    [Fact]
    public void Rounding_leaves_what_is_no_number()
    {
        ModelGraph graph = Product(MatMulForm.NN, 8, 8, 8);
        PtxFunction function = PtxFunction.Compile(graph, products: kernel => With(kernel, Rounding.BF16, TensorTile.For(Rounding.BF16)[2]), rounding: RoundingMode.Stochastic);
        for (int seed = 0; seed < 4; seed++)
        {
            RunArguments run = CaseData.Random(graph, seed);
            run.Parameters["a"].Data[0] = double.NaN;
            run.Parameters["a"].Data[8] = double.PositiveInfinity;
            Array.Fill(run.Parameters["b"].Data, 1);
            double[] product = function.Run(run).Outputs["y1"].Data;
            Assert.All(product[..8], value => Assert.True(double.IsNaN(value)));
            Assert.All(product[8..16], value => Assert.Equal(double.PositiveInfinity, value));
            Assert.All(product[16..], value => Assert.True(double.IsFinite(value)));
        }
    }

    /// <summary>Whatever orders what threads do is there for something, and so is rounding: the machine says so where one of them is missing.</summary>
    [Theory]
    [InlineData("TF32", "bar.sync 0;", "")]
    [InlineData("TF32", "bar.warp.sync -1;", "")]
    [InlineData("TF32", "cp.async.wait_group 1;", "")]
    [InlineData("TF32", "cp.async.wait_group 1;", "cp.async.wait_group 2;")]
    [InlineData("TF32", "cp.async.commit_group;", "")]
    [InlineData("TF32", "cvt.rna.tf32.f32", "mov.b32")]
    [InlineData("BF16", "bar.sync 0;", "")]
    [InlineData("BF16", "bar.warp.sync -1;", "")]
    public void What_is_left_out_is_found(string precision, string instruction, string instead)
    {
        Rounding rounded = Enum.Parse<Rounding>(precision);
        TensorTile tile = TensorTile.For(rounded)[1];
        ModelGraph graph = Product(MatMulForm.NN, tile.Rows, 7 * tile.Depth, tile.Columns);
        RunArguments run = CaseData.Random(graph, 3);
        PtxFunction Compile(Func<string, string>? edit) => PtxFunction.Compile(graph, edit, kernel => With(kernel, rounded, tile));
        int there = Compile(null).Module.Split("\t" + instruction).Length - 1;
        Assert.True(there > 0);
        for (int i = 0; i < there; i++)
        {
            int left = i;
            PtxFunction function = Compile(module =>
            {
                string[] parts = module.Split("\t" + instruction);
                return string.Concat(parts.Select((part, j) => j == parts.Length - 1 ? part : part + "\t" + (j == left ? instead : instruction)));
            });
            Assert.Throws<PtxException>(() => function.Run(run));
        }
    }

    /// <summary>Chunks change places with their rows so that what is read or written at once lies in different banks.</summary>
    [Theory]
    [InlineData("TF32")]
    [InlineData("BF16")]
    public void No_bank_of_shared_memory_is_asked_twice(string precision)
    {
        Rounding rounded = Enum.Parse<Rounding>(precision);
        foreach (TensorTile tile in TensorTile.For(rounded))
        {
            foreach (MatMulForm form in Enum.GetValues<MatMulForm>())
            {
                ModelGraph graph = Product(form, tile.Rows, 4 * tile.Depth, tile.Columns);
                PtxFunction function = PtxFunction.Compile(graph, products: kernel => With(kernel, rounded, tile));
                function.Run(CaseData.Random(graph, 3));

                // Where a warp has 16 columns its lanes read two rows of sums at once, which meet in half of the banks.
                int ofEpilogue = tile.WarpColumns < 32 ? tile.Threads / 32 * 8 : 0;
                Assert.True(function.BankConflicts == ofEpilogue, $"{function.BankConflicts} conflicts of {form} with {tile}");
            }
        }
    }

    public static TheoryData<string, string> FamiliesByPrecision => new(from name in Families.All.Keys from precision in Precisions select (name, precision.ToString()));

    /// <summary>Each product of each family by itself, in all entry points, against the same kernel in single precision on the same numbers.</summary>
    [Theory]
    [MemberData(nameof(FamiliesByPrecision))]
    public void Every_familys_products_are_near(string family, string precision)
    {
        Rounding rounded = Enum.Parse<Rounding>(precision);
        CompiledPlans plans = ModelCompiler.Plan(Families.All[family] with { HasCuda = true }, CacheSizes.Default, default);
        var seen = new HashSet<string>();
        int byGroups = 0;
        foreach (CompiledEntry entry in plans.Entries)
        {
            foreach (MatMulKernel kernel in entry.Cuda!.Device.Launches.Select(launch => launch.Kernel).OfType<MatMulKernel>().Distinct())
            {
                if (CudaProductPlan.Of(kernel, rounded) is not TensorTiles)
                {
                    continue;
                }

                // Where a result jumps with the sum, as the derivative of a rectifier does, the sum itself is looked at.
                bool jumps = false;
                foreach (Store store in kernel.Stores)
                {
                    ExprTransforms.Visit(store.Value, e => jumps |= e is SelectExpr);
                }

                MatMulKernel alone = jumps ? kernel.With([.. kernel.Stores.Select(s => new Store(s.Operand, new AccumulatorExpr(), s.Mode))]) : kernel;
                var program = new KernelProgram([alone], new Dictionary<string, View>(), new Dictionary<string, View>(), [], entry.Cuda.Device.Program.Counts);
                CudaModule single = new(), tensor = new(rounded), groups = new(rounded, Which.Warpgroups);
                CudaProgram expecting = single.Add(program), rounding = tensor.Add(program), grouping = groups.Add(program);
                if (seen.Add(single.Text))
                {
                    Dictionary<PlanBuffer, float[]> expected = Outcome(alone, [Assert.Single(expecting.Launches)], expecting.Program.Counts, single.Text);
                    Near(alone, expected, Outcome(alone, [Assert.Single(rounding.Launches)], rounding.Program.Counts, tensor.Text), Tolerance(rounded));
                    if (Assert.Single(grouping.Steps) is CudaChoice choice)
                    {
                        Near(alone, expected, Outcome(alone, choice.Warpgroups, grouping.Program.Counts, groups.WarpgroupText), Tolerance(rounded));
                        byGroups++;
                    }
                }
            }
        }

        // Those of steps, whose rows no run counts.
        Assert.True(rounded == Rounding.TF32 ? byGroups == 0 : byGroups > 0 || seen.Count == 0 || plans.Entries.All(e => e.Entry.Kind != EntryKind.Step), $"{byGroups} products by groups");
    }

    private static void Near(MatMulKernel kernel, Dictionary<PlanBuffer, float[]> expected, Dictionary<PlanBuffer, float[]> actual, double tolerance)
    {
        foreach ((PlanBuffer buffer, float[] numbers) in expected)
        {
            double largest = Math.Max(1, numbers.Max(Math.Abs));
            for (int i = 0; i < numbers.Length; i++)
            {
                Assert.True(Math.Abs(numbers[i] - actual[buffer][i]) <= tolerance * largest, FormattableString.Invariant($"{kernel.Name}: element {i} of {buffer.Name} is {actual[buffer][i]}, expected {numbers[i]}"));
            }
        }
    }

    /// <summary>What launches for a product leave in its operands' memory, which holds anything at first; it adds to gradients.</summary>
    private static unsafe Dictionary<PlanBuffer, float[]> Outcome(MatMulKernel product, IReadOnlyList<CudaLaunch> launches, IReadOnlyList<Dim> counts, string module)
    {
        Dictionary<string, PtxEntryPoint> entries = PtxEntryPoint.Read(module);
        var random = new Random(7);
        PlanBuffer[] own = [.. product.Operands.Select(o => o.View.Buffer).Distinct()];
        Dictionary<PlanBuffer, float[]> memory = own.Concat(launches.SelectMany(launch => launch.Kernel.Operands).Select(o => o.View.Buffer)).Distinct().ToDictionary(b => b, b => Enumerable.Range(0, (int)(b.Bytes / 4))
            .Select(_ => b.Format.Element == ElementType.Int32 ? BitConverter.Int32BitsToSingle(random.Next(2)) : random.NextSingle() - 0.5f).ToArray());
        float[] record = new float[((RunRecord.Bytes(counts.Count) + 7) / 8) * 2];
        record[RunRecord.Accumulate / 4] = BitConverter.Int32BitsToSingle(1);
        (record[RunRecord.LossNormalizer / 4], record[RunRecord.GradientScale / 4]) = (0.25f, 1);
        for (int i = 0; i < counts.Count; i++)
        {
            record[(RunRecord.Counts / 4) + i] = BitConverter.Int32BitsToSingle(counts[i].Maximum);
        }

        var machine = new PtxMachine();
        var pieces = new Dictionary<float[], nint>();
        try
        {
            foreach (float[] data in memory.Values.Append(record))
            {
                pieces.Add(data, (nint)NativeMemory.AlignedAlloc((nuint)(4 * data.Length), 64));
                data.CopyTo(new Span<float>((void*)pieces[data], data.Length));
                machine.Allow((void*)pieces[data], 4 * data.Length, data == record ? "record" : "memory");
            }

            foreach (CudaLaunch launch in launches)
            {
                PtxEntryPoint entry = entries[launch.Entry];
                var parameters = new List<byte>();
                foreach ((string name, int size) in entry.Parameters)
                {
                    parameters.AddRange(new byte[(size - (parameters.Count % size)) % size]);
                    parameters.AddRange(name switch
                    {
                        "run" => BitConverter.GetBytes((ulong)pieces[record]),
                        "step" => BitConverter.GetBytes(0),
                        _ => BitConverter.GetBytes(Address(launch.Kernel.Operands[int.Parse(name.AsSpan(1), CultureInfo.InvariantCulture)].View)),
                    });
                }

                machine.Launch(entry, launch.Blocks.X, launch.Blocks.Y, launch.Threads, parameters.ToArray(), launch.SharedBytes);
            }

            ulong Address(View view) => (ulong)(pieces[memory[view.Buffer]] + (4 * view.Offset));
            foreach (float[] data in memory.Values)
            {
                new Span<float>((void*)pieces[data], data.Length).CopyTo(data);
            }
        }
        finally
        {
            foreach (nint piece in pieces.Values)
            {
                NativeMemory.AlignedFree((void*)piece);
            }
        }

        return own.ToDictionary(b => b, b => memory[b]);
    }

    private static double Tolerance(Rounding precision) => precision == Rounding.TF32 ? 1e-3 : 1e-2;

    private static CudaProductPlan With(MatMulKernel kernel, Rounding precision, TensorTile tile)
        => Assert.IsType<TensorTiles>(CudaProductPlan.Of(new MatMulKernel(kernel.Name, kernel.Operands, kernel.Form, kernel.Rows == RowExtent.Literal(1) ? RowExtent.Literal(2) : kernel.Rows, kernel.Columns, kernel.Depth, kernel.Stores, 0, 0), precision)) with { Tile = tile };

    private static ModelGraph Product(MatMulForm form, int m, int k, int n) => KernelCases.Prepare(OperatorCases.Case("product", b =>
    {
        Value x = form == MatMulForm.TN ? OperatorCases.Parameter(b, "a", k, m) : OperatorCases.Parameter(b, "a", m, k);
        Value y = form == MatMulForm.NT ? OperatorCases.Parameter(b, "b", n, k) : OperatorCases.Parameter(b, "b", k, n);
        Value product = b.Add(new MatMul(form), "product", x, y);
        return [b.Add(new Gelu(), "activated", b.Add(new Add(), "biased", product, OperatorCases.Parameter(b, "bias", n))), product];
    }).Graph);
}
