using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Tests.Compiler;

/// <summary>A small graph that is about one operator, and whether everything in it can be differentiated.</summary>
internal sealed record OperatorCase(string Name, ModelGraph Graph, bool HasGradient = true)
{
    public override string ToString() => Name;
}

/// <summary>
/// Every operator at several ragged shapes, as graphs. The gradient tests compare them with central differences, the kernel
/// tests compare what is emitted for them with the reference interpreter.
/// </summary>
internal static class OperatorCases
{
    private static readonly Lazy<IReadOnlyDictionary<string, OperatorCase>> Table = new(() => Build().ToDictionary(c => c.Name));

    public static IReadOnlyDictionary<string, OperatorCase> All => Table.Value;

    /// <summary>Every operator that the compiler has.</summary>
    public static IEnumerable<Type> OperatorTypes
        => typeof(Operator).Assembly.GetTypes().Where(t => !t.IsAbstract && typeof(Operator).IsAssignableFrom(t));

    /// <summary>Every element-wise function of one input, with the values its input may take.</summary>
    public static IReadOnlyList<(UnaryOperator Op, string Domain)> Unary { get; } =
    [
        (new Affine(1.75, -0.25), "x"),
        (new Exp(), "x"),
        (new Log(), "positive"),
        (new Tanh(), "x"),
        (new Sigmoid(), "x"),
        (new Relu(), "apart"),
        (new Gelu(), "x"),
        (new GeluTanh(), "x"),
        (new Silu(), "x"),
        (new Elu(), "apart"),
        (new Clamp(-0.3, 0.6), "apart"),
        (new QuickGelu(), "x"),
        (new Softplus(), "apart"),
        (new Rsqrt(0.01), "positive"),
        (new Dropout(0.3, 5), "x"),
    ];

    public static Value Parameter(GraphBuilder b, string name, params Dim[] dims)
        => b.Add(new Parameter(name, Shape.Of(dims), Initializer.Normal(1), false, false), name);

    public static Value Indices(GraphBuilder b, string name, int classes, params Dim[] dims)
        => b.Add(new Input(name, TensorType.Int(Shape.Of(dims)), classes), name);

    // Qualified: the runtime has a learning rate schedule of this name in the enclosing namespace.
    public static Value Constant(GraphBuilder b, double value, Shape shape) => b.Add(new global::ModelGen.Compiler.Ops.Constant(value, shape), "constant");

    public static OperatorCase Case(string name, Func<GraphBuilder, IEnumerable<Value>> build, bool hasGradient = true)
    {
        var b = new GraphBuilder();
        int number = 0;
        foreach (Value value in build(b).ToArray())
        {
            b.Output("y" + number++, value);
        }

        return new OperatorCase(name, b.Build(), hasGradient);
    }

    private static IEnumerable<OperatorCase> Build()
    {
        int[][] shapes = [[], [1], [5], [1, 1], [4, 1], [3, 7], [2, 3, 5], [17, 33]];
        foreach ((UnaryOperator op, string domain) in Unary)
        {
            foreach (int[] shape in shapes)
            {
                yield return Case($"{op.Mnemonic} {Text(shape)}", b => [b.Add(op, "y", Parameter(b, domain, Dims(shape)))]);
            }

            yield return Case($"derivative of {op.Mnemonic}", b => [b.Add(new Derivative(op), "y", Parameter(b, domain, 3, 17))], hasGradient: false);
        }

        (int[] A, int[] B)[] pairs =
        [
            ([3, 7], [3, 7]), ([3, 7], [7]), ([3, 7], [3, 1]), ([3, 7], [1]), ([3, 7], []), ([7], [3, 7]), ([3, 1], [3, 7]), ([], [3, 7]),
            ([2, 3, 5], [3, 5]), ([2, 3, 5], [5]), ([2, 3, 5], [2, 3, 1]), ([2, 3, 5], [3, 1]), ([2, 3, 5], [1, 1]), ([3, 7], [1, 7]), ([1, 7], [3, 7]),
            ([3, 1], [1, 7]), ([3, 1], [7]), ([1], [1]), ([], []), ([9, 17], [17]), ([17, 33], [17, 1]),
            ([2, 3, 5], [2, 1, 5]), ([2, 3, 5], [2, 1, 1]), ([2, 1, 5], [1, 3, 1]), ([2, 1, 1], [3, 5]), ([2, 3, 4, 5], [2, 1, 4, 1]), ([2, 3, 4, 5], [3, 1, 5]),
            ([2, 1, 4, 1], [1, 3, 1, 5]), ([2, 3, 1], [2, 1, 1]), ([3, 4, 17], [1, 4, 17]), ([3, 4, 17], [3, 1, 17]),
        ];
        foreach (ElementwiseOperator op in new ElementwiseOperator[] { new Add(), new Subtract(), new Multiply(), new Divide() })
        {
            foreach ((int[] first, int[] second) in pairs)
            {
                yield return Case($"{op.Mnemonic} {Text(first)} {Text(second)}", b => [b.Add(op, "y", Parameter(b, "a", Dims(first)), Parameter(b, "b.apart", Dims(second)))]);
            }

            yield return Case($"{op.Mnemonic} with itself", b =>
            {
                Value x = Parameter(b, "apart", 3, 7);
                return [b.Add(op, "y", x, x)];
            });
        }

        (int[] From, int[] To)[] stretches = [([], [3, 5]), ([1], [3, 5]), ([5], [3, 5]), ([3, 1], [3, 5]), ([1, 1], [3, 5]), ([1, 5], [3, 5]), ([3, 5], [2, 3, 5]), ([3, 5], [3, 5]), ([5], [2, 3, 5]), ([1], [2, 1]), ([2, 1, 5], [2, 3, 5]), ([2, 1, 1], [2, 3, 5]), ([2, 1, 4, 1], [2, 3, 4, 9])];
        foreach ((int[] from, int[] to) in stretches)
        {
            yield return Case($"broadcast {Text(from)} {Text(to)}", b => [b.Add(new BroadcastTo(Shape.Of(Dims(to))), "y", Parameter(b, "x", Dims(from)))]);
        }

        (int[] From, int[] To)[] sums = [([3, 5], [5]), ([2, 3, 5], [5]), ([2, 3, 5], [3, 5]), ([7, 1], [1]), ([33, 17], [17]), ([1, 9], [9]), ([65, 3], [3]), ([5], [5]), ([2, 3, 5], [2, 1, 5]), ([2, 3, 5], [1, 3, 5]), ([2, 3, 4, 17], [2, 1, 4, 17]), ([2, 3, 4, 5], [3, 1, 5]), ([2, 3, 4, 1], [2, 1, 1, 1])];
        foreach ((int[] from, int[] to) in sums)
        {
            yield return Case($"column_sum {Text(from)} {Text(to)}", b => [b.Add(new ColumnSum(Shape.Of(Dims(to))), "y", Parameter(b, "x", Dims(from)))]);
        }

        foreach (int[] shape in new int[][] { [5], [3, 7], [4, 1], [2, 3, 5], [17, 33], [1, 65], [1, 1] })
        {
            yield return Case($"row_sum {Text(shape)}", b => [b.Add(new RowSum(), "y", Parameter(b, "x", Dims(shape)))]);
            yield return Case($"row_max {Text(shape)}", b => [b.Add(new RowMax(), "y", Parameter(b, "x", Dims(shape)))], hasGradient: false);
            yield return Case($"stop_gradient {Text(shape)}", b =>
            {
                Value x = Parameter(b, "x", Dims(shape));
                Value shift = b.Add(new StopGradient(), "shift", b.Add(new RowMax(), "max", x));
                return [b.Add(new Subtract(), "shifted", x, shift)];
            }, hasGradient: false);
        }

        (int M, int K, int N)[] products = [(1, 1, 1), (1, 5, 3), (3, 5, 1), (5, 1, 7), (3, 7, 2), (7, 9, 17), (17, 33, 9), (2, 16, 8)];
        foreach ((int m, int k, int n) in products)
        {
            yield return Case($"matmul NT {m}x{k}x{n}", b => [b.Add(new MatMul(MatMulForm.NT), "y", Parameter(b, "a", m, k), Parameter(b, "b", n, k))]);
            yield return Case($"matmul NN {m}x{k}x{n}", b => [b.Add(new MatMul(MatMulForm.NN), "y", Parameter(b, "a", m, k), Parameter(b, "b", k, n))]);
            yield return Case($"matmul TN {m}x{k}x{n}", b => [b.Add(new MatMul(MatMulForm.TN), "y", Parameter(b, "a", k, m), Parameter(b, "b", k, n))]);
        }

        yield return Case("matmul NT rank 3", b => [b.Add(new MatMul(MatMulForm.NT), "y", Parameter(b, "a", 2, 3, 5), Parameter(b, "b", 7, 5))]);
        yield return Case("matmul NN rank 3", b => [b.Add(new MatMul(MatMulForm.NN), "y", Parameter(b, "a", 2, 3, 5), Parameter(b, "b", 5, 7))]);
        yield return Case("matmul TN rank 3", b => [b.Add(new MatMul(MatMulForm.TN), "y", Parameter(b, "a", 2, 3, 5), Parameter(b, "b", 2, 3, 7))]);
        yield return Case("matmul NT with itself", b =>
        {
            Value x = Parameter(b, "a", 5, 5);
            return [b.Add(new MatMul(MatMulForm.NT), "y", x, x)];
        });

        foreach ((int v, int c, int[] dims) in new (int, int, int[])[] { (7, 5, [3]), (5, 17, [2, 3]), (2, 3, [9]), (3, 1, [4]), (11, 33, [3, 5]) })
        {
            yield return Case($"embedding {v}x{c} {Text(dims)}", b => [b.Add(new Embedding(), "y", Parameter(b, "table", v, c), Indices(b, "indices", v, Dims(dims)))]);
            yield return Case($"embedding_gradient {v}x{c} {Text(dims)}", b => [b.Add(new EmbeddingGradient(v), "y", Indices(b, "indices", v, Dims(dims)), Parameter(b, "cotangent", [.. Dims(dims), c]))], hasGradient: false);
        }

        yield return Case("transpose_indices", b => [b.Add(new Embedding(), "y", Parameter(b, "table", 5, 3), b.Add(new TransposeIndices(), "transposed", Indices(b, "indices", 5, 3, 7)))]);

        foreach ((int[] x, int[] index) in new (int[], int[])[] { ([3, 7], [3]), ([2, 3, 5], [2, 3]), ([9, 33], [9]), ([1, 1], [1]), ([6, 17], [6]) })
        {
            yield return Case($"select_column {Text(x)}", b => [b.Add(new SelectColumn(x[^1]), "y", Parameter(b, "x", Dims(x)), Indices(b, "targets", x[^1], Dims(index)))]);
            yield return Case($"select_column {Text(x)} from one column", b => [b.Add(new SelectColumn(x[^1]), "y", Parameter(b, "x", [.. Dims(index), 1]), Indices(b, "targets", x[^1], Dims(index)))]);
            yield return Case($"is_target {Text(index)}", b => [b.Add(new Multiply(), "y", Parameter(b, "x", Dims(x)), b.Add(new IsTarget(), "counts", Indices(b, "targets", 5, Dims(index))))]);
            yield return Case($"cross_entropy {Text(x)}", b => [b.Add(new CrossEntropy(), "y", Parameter(b, "x", Dims(x)), Indices(b, "targets", x[^1], Dims(index)))]);
            yield return Case($"cross_entropy smoothed {Text(x)}", b => [b.Add(new CrossEntropy(0.1), "y", Parameter(b, "x", Dims(x)), Indices(b, "targets", x[^1], Dims(index)))]);
            yield return Case($"mean cross_entropy {Text(x)}", b => [b.Add(new MeanLoss(), "loss", b.Add(new CrossEntropy(), "y", Parameter(b, "x", Dims(x)), Indices(b, "targets", x[^1], Dims(index))))]);
        }

        foreach (int[] shape in new int[][] { [3, 7], [1, 5], [2, 3, 5], [9, 33], [5, 1], [17, 64] })
        {
            yield return Case($"layer_norm {Text(shape)}", b => [b.Add(new LayerNorm(1e-5), "y", Parameter(b, "x", Dims(shape)), Parameter(b, "gamma.positive", shape[^1]), Parameter(b, "beta", shape[^1]))]);
            yield return Case($"layer_norm by 1 + weight {Text(shape)}", b => [b.Add(new LayerNorm(1e-5, WeightIsOffset: true), "y", Parameter(b, "x", Dims(shape)), Parameter(b, "gamma", shape[^1]), Parameter(b, "beta", shape[^1]))]);
            yield return Case($"layer_norm by 1 + weight without bias {Text(shape)}", b => [b.Add(new LayerNorm(0.1, WeightIsOffset: true), "y", Parameter(b, "x", Dims(shape)), Parameter(b, "gamma", shape[^1]))]);
            yield return Case($"layer_norm without bias {Text(shape)}", b => [b.Add(new LayerNorm(0.1), "y", Parameter(b, "x", Dims(shape)), Parameter(b, "gamma.positive", shape[^1]))]);
            yield return Case($"rms_norm {Text(shape)}", b => [b.Add(new RmsNorm(1e-5), "y", Parameter(b, "x", Dims(shape)), Parameter(b, "gamma.positive", shape[^1]))]);
            yield return Case($"rms_norm by 1 + weight {Text(shape)}", b => [b.Add(new RmsNorm(0.1, WeightIsOffset: true), "y", Parameter(b, "x", Dims(shape)), Parameter(b, "gamma", shape[^1]))]);
            yield return Case($"rms_norm without weight {Text(shape)}", b => [b.Add(new RmsNorm(0.1), "y", Parameter(b, "x", Dims(shape)))]);
            yield return Case($"squared_error {Text(shape)}", b => [b.Add(new SquaredError(), "y", Parameter(b, "x", Dims(shape)), Parameter(b, "t", Dims(shape)))]);
            yield return Case($"softmax {Text(shape)}", b => [b.Add(new Softmax(), "y", Parameter(b, "x", Dims(shape)))]);
            yield return Case($"binary_cross_entropy {Text(shape)}", b => [b.Add(new BinaryCrossEntropy(), "y", Parameter(b, "apart", Dims(shape)), Parameter(b, "probability", Dims(shape)))]);
            yield return Case($"mean_loss {Text(shape)}", b => [b.Add(new MeanLoss(), "loss", b.Add(new SquaredError(), "y", Parameter(b, "x", Dims(shape)), Parameter(b, "t", Dims(shape))))]);
        }

        foreach ((int[] lengths, int columns) in new (int[], int)[] { ([3], 7), ([2, 3], 5), ([1], 1), ([9], 17), ([4], 33) })
        {
            yield return Case($"length_mask {Text(lengths)} {columns}", b => [b.Add(new Multiply(), "y", Parameter(b, "x", [.. Dims(lengths), columns]), b.Add(new LengthMask(columns), "mask", Indices(b, "lengths", columns + 1, Dims(lengths))))]);
        }

        foreach ((int[] mask, int[] x, int[] y) in new (int[], int[], int[])[] { ([3, 1], [3, 7], [3, 7]), ([3, 7], [3, 7], []), ([2, 3, 1], [5], [2, 3, 5]), ([9, 17], [17], [9, 1]), ([1], [4, 1], [1]), ([2, 1, 5], [2, 3, 5], [3, 1]) })
        {
            yield return Case($"where {Text(mask)} {Text(x)} {Text(y)}", b =>
            {
                Value relu = b.Add(new Relu(), "mask", b.Add(new Input("apart.mask", TensorType.Float(Shape.Of(Dims(mask))), 0), "apart.mask"));
                return [b.Add(new Where(), "y", relu, Parameter(b, "x", Dims(x)), Parameter(b, "z", Dims(y)))];
            });
        }

        yield return Case("reshape", b => [b.Add(new Reshape(Shape.Of(4, 6)), "y", Parameter(b, "x", 2, 3, 4))]);
        yield return Case("reshape to a row and back", b => [b.Add(new Reshape(Shape.Of(3, 5)), "y", b.Add(new Tanh(), "t", b.Add(new Reshape(Shape.Of(1, 15)), "row", Parameter(b, "x", 5, 3))))]);
        yield return Case("reshape of a slice", b => [b.Add(new Reshape(Shape.Of(6, 2)), "y", b.Add(new SliceColumns(1, 4), "slice", Parameter(b, "x", 3, 7)))]);
        foreach ((int[] shape, int[] axes) in new (int[], int[])[] { ([3, 7], [1, 0]), ([17, 33], [1, 0]), ([2, 3, 5], [1, 0, 2]), ([2, 3, 5], [2, 1, 0]), ([2, 3, 4, 9], [0, 2, 1, 3]), ([1, 5], [1, 0]), ([2, 3], [0, 1]) })
        {
            string name = $"permute {Text(shape)} {Text(axes)}";
            Value View(GraphBuilder b) => b.Add(new Permute(new(axes)), "view", Parameter(b, "x", Dims(shape)));
            yield return Case(name, b => [View(b)]);
            yield return Case(name + " in a row kernel", b => [b.Add(new LayerNorm(0.1), "y", View(b), Parameter(b, "gamma.positive", shape[axes[^1]]))]);
            yield return Case(name + " in products", b =>
            {
                Value x = View(b);
                Value product = b.Add(new MatMul(MatMulForm.NT), "product", x, Parameter(b, "w", 4, shape[axes[^1]]));
                Value back = b.Add(new MatMul(MatMulForm.NN), "back", product, Parameter(b, "u", 4, shape[axes[^1]]));
                return [b.Add(new Multiply(), "y", back, x)];
            });
            yield return Case(name + " there and back", b => [b.Add(new Permute(new([.. Enumerable.Range(0, axes.Length).OrderBy(i => axes[i])])), "back", b.Add(new Tanh(), "t", View(b)))]);
        }

        // Even and odd columns of a row, as rotary positions pair them: views with strided columns, and their way back.
        yield return Case("interleaved columns", b =>
        {
            Value x = Parameter(b, "x", 2, 3, 10);
            Value pairs = b.Add(new Reshape(Shape.Of(2, 3, 5, 2)), "pairs", x);
            Value Part(int offset, string name) => b.Add(new Reshape(Shape.Of(2, 3, 5)), name, b.Add(new SliceColumns(offset, 1), name, pairs));
            Value cosine = Parameter(b, "cosine", 3, 5);
            (Value even, Value odd) = (Part(0, "even"), Part(1, "odd"));
            Value first = b.Add(new Subtract(), "first", b.Add(new Multiply(), "ec", even, cosine), odd);
            Value second = b.Add(new Add(), "second", b.Add(new Multiply(), "oc", odd, cosine), even);
            Value Column(Value v) => b.Add(new Reshape(Shape.Of(2, 3, 5, 1)), "column", v);
            return [b.Add(new Reshape(Shape.Of(2, 3, 10)), "y", b.Add(new ConcatColumns(), "joined", Column(first), Column(second)))];
        });
        yield return Case("slices that cover", b =>
        {
            Value x = Parameter(b, "x", 3, 9);
            return [b.Add(new Multiply(), "y", b.Add(new SliceColumns(0, 3), "p", x), b.Add(new Multiply(), "qr", b.Add(new SliceColumns(3, 3), "q", x), b.Add(new SliceColumns(6, 3), "r", x)))];
        });
        yield return Case("slices that overlap and leave gaps", b =>
        {
            Value x = Parameter(b, "x", 2, 3, 11);
            return [b.Add(new Multiply(), "y", b.Add(new SliceColumns(1, 4), "p", x), b.Add(new Tanh(), "t", b.Add(new SliceColumns(3, 4), "q", x))), b.Add(new SliceColumns(9, 1), "r", x)];
        });
        yield return Case("slice and the whole", b =>
        {
            Value x = Parameter(b, "x", 3, 7);
            return [b.Add(new SliceColumns(2, 3), "p", x), b.Add(new Tanh(), "t", x)];
        });
        yield return Case("one slice", b => [b.Add(new SliceColumns(2, 3), "p", Parameter(b, "x", 3, 7))]);
        yield return Case("concat_columns", b => [b.Add(new ConcatColumns(), "y", Parameter(b, "p", 3, 2), Parameter(b, "q", 3, 5), Parameter(b, "r", 3, 1))]);
        yield return Case("concat_columns with itself", b =>
        {
            Value x = Parameter(b, "p", 2, 3, 2);
            return [b.Add(new ConcatColumns(), "y", x, x)];
        });
        yield return Case("pad_columns", b => [b.Add(new PadColumns(2, 7), "y", Parameter(b, "x", 3, 4))], hasGradient: false);
        foreach ((int[] shape, int row) in new (int[], int)[] { ([3, 7], 1), ([1, 5], 0), ([2, 3, 5], 0), ([2, 3, 17], 2), ([2, 3, 4, 9], 1) })
        {
            Value Row(GraphBuilder b) => b.Add(new SelectRow(row), "row", Parameter(b, "x", Dims(shape)));
            yield return Case($"select_row {row} {Text(shape)}", b => [Row(b)]);
            yield return Case($"select_row {row} {Text(shape)} in a kernel", b => [b.Add(new LayerNorm(0.1), "y", Row(b), Parameter(b, "gamma.positive", shape[^1]))]);
        }

        yield return Case("select_row of a sum and of a transpose", b =>
        {
            Value x = b.Add(new Add(), "sum", Parameter(b, "p", 2, 3, 5), Parameter(b, "q", 3, 5));
            Value first = b.Add(new MatMul(MatMulForm.NT), "first", b.Add(new SelectRow(0), "row", x), Parameter(b, "w", 4, 5));
            return [x, first, b.Add(new Tanh(), "turned", b.Add(new SelectRow(1), "row", b.Add(new Permute([1, 0, 2]), "view", x)))];
        });
        yield return Case("rows_at_position", b => [b.Add(new Tanh(), "t", b.Add(new RowsAtPosition(3), "y", Parameter(b, "x", 7, 5)))]);
        foreach (int[] shape in new int[][] { [3, 7], [2, 3, 5], [4, 1] })
        {
            for (int behind = 0; behind <= shape.Length; behind++)
            {
                int at = behind;
                yield return Case($"unsqueeze {behind} {Text(shape)}", b => [b.Add(new Tanh(), "t", b.Add(new Unsqueeze(at), "y", Parameter(b, "x", Dims(shape)))), b.Add(new Exp(), "e", Parameter(b, "x", Dims(shape)))]);
            }
        }

        foreach ((int batch, int steps, int heads, int width, int rotated) in new[] { (2, 3, 2, 6, 6), (1, 5, 3, 8, 4), (3, 4, 1, 34, 34), (2, 1, 4, 2, 2), (1, 7, 5, 16, 10) })
        {
            foreach (bool interleaved in new[] { false, true })
            {
                yield return Case($"rotary {batch} {steps} {heads} {width} {rotated}{(interleaved ? " interleaved" : "")}", b =>
                    [b.Add(new Rotary(width, rotated, interleaved), "y", Parameter(b, "x", batch, steps, heads * width), b.Add(new RowsAtPosition(steps), "angles", Parameter(b, "table", steps + 2, rotated)))]);
            }
        }

        foreach ((int batch, int steps, int channels, int taps) in new[] { (1, 1, 5, 3), (2, 4, 7, 3), (3, 2, 16, 4), (1, 9, 1, 2), (2, 3, 19, 1) })
        {
            foreach (bool bias in new[] { false, true })
            {
                yield return Case($"causal_convolution {batch} {steps} {channels} {taps}{(bias ? " bias" : "")}", b =>
                {
                    Value[] inputs = [Parameter(b, "x", batch, steps, channels), Parameter(b, "w", taps, channels), .. bias ? [Parameter(b, "c", channels)] : Array.Empty<Value>()];
                    return [b.Add(new Tanh(), "t", b.Add(new CausalConvolution(), "y", inputs))];
                });
            }
        }

        foreach ((int batch, int steps, int groups, int heads, int width, int columns) in new[] { (1, 1, 1, 1, 3, 4), (2, 5, 2, 4, 3, 9), (3, 4, 1, 3, 7, 1), (1, 9, 2, 2, 1, 6) })
        {
            foreach ((bool corrects, int chunk) in new[] { (false, 0), (true, 0), (false, 2), (true, 2), (true, 3), (false, steps), (true, steps) }.Where(c => c.Item2 != 1))
            {
                yield return Case($"linear_recurrence {batch} {steps} {groups} {heads} {width} {columns}{(corrects ? " corrects" : "")}{(chunk > 0 ? $" in chunks of {chunk}" : "")}", b =>
                {
                    Value Of(string name, params Dim[] shape) => Parameter(b, name, shape);
                    Value[] inputs =
                    [
                        Of("q", batch, steps, groups, width), b.Add(new Affine(1 / Math.Sqrt(width), 0), "k", b.Add(new Tanh(), "k.bounded", Of("k", batch, steps, groups, width))), Of("v", batch, steps, heads, columns),
                        b.Add(new Affine(-1, 0), "g", b.Add(new Softplus(), "pace", Of("a", batch, steps, heads))), .. corrects ? [b.Add(new Sigmoid(), "beta", Of("b", batch, steps, heads))] : Array.Empty<Value>(),
                    ];
                    return [b.Add(new Tanh(), "t", b.Add(new LinearRecurrence { Chunk = chunk }, "y", inputs))];
                });
            }
        }

        foreach ((int rows, int columns) in new[] { (1, 3), (4, 7), (5, 40) })
        {
            yield return Case($"column_indices {rows} {columns}", b => [b.Add(new Multiply(), "y", Parameter(b, "w", rows, columns), b.Add(new ColumnIndices(columns), "n", Parameter(b, "x", rows, 1)))]);
        }

        // Chunks of the lengths that training takes.
        foreach (bool corrects in new[] { false, true })
        {
            yield return Case($"linear_recurrence of a training step{(corrects ? " corrects" : "")}", b =>
            {
                Value[] inputs =
                [
                    b.Add(new Affine(1 / Math.Sqrt(16), 0), "q", Parameter(b, "q.all", 1, 50, 1, 16)), b.Add(new Affine(1 / Math.Sqrt(16), 0), "k", b.Add(new Tanh(), "k.bounded", Parameter(b, "k.all", 1, 50, 1, 16))), Parameter(b, "v", 1, 50, 2, 3),
                    b.Add(new Affine(-1, 0), "g", b.Add(new Softplus(), "pace", Parameter(b, "a", 1, 50, 2))), .. corrects ? [b.Add(new Sigmoid(), "beta", Parameter(b, "b", 1, 50, 2))] : Array.Empty<Value>(),
                ];
                return [b.Add(new Tanh(), "t", b.Add(new LinearRecurrence { Chunk = corrects ? 25 : 50 }, "y", inputs))];
            });
        }

        // By a kernel of their own: chunks that end with the steps and others, heads that fill vectors, tiles and neither, from nothing and from a state.
        foreach ((int batch, int steps, int groups, int heads, int width, int columns, int chunk) in new[]
        {
            (1, 1, 1, 1, 3, 4, 1), (2, 5, 2, 4, 3, 9, 2), (3, 4, 1, 3, 7, 1, 4), (1, 9, 2, 2, 1, 6, 3), (1, 70, 1, 2, 16, 48, 32), (2, 33, 1, 2, 17, 33, 32), (1, 19, 2, 2, 40, 64, 16), (1, 64, 1, 1, 8, 16, 32), (2, 50, 1, 2, 12, 20, 9),
        })
        {
            foreach ((bool corrects, bool continues) in new[] { (false, false), (false, true), (true, false), (true, true) })
            {
                yield return Case($"chunked_recurrence {batch} {steps} {groups} {heads} {width} {columns} by {chunk}{(corrects ? " corrects" : "")}{(continues ? " continues" : "")}", b =>
                {
                    // Values are a part of something wider, as those of one projection are.
                    Value all = b.Add(new Tanh(), "all", Parameter(b, "x", batch, steps, (heads * columns) + 3));
                    Value values = b.Add(new Reshape(Shape.Of(batch, steps, heads, columns)), "v", b.Add(new SliceColumns(2, heads * columns), "v.flat", all));
                    Value[] inputs =
                    [
                        b.Add(new Affine(1 / Math.Sqrt(width), 0), "q", Parameter(b, "q.all", batch, steps, groups, width)), b.Add(new Affine(1 / Math.Sqrt(width), 0), "k", b.Add(new Tanh(), "k.bounded", Parameter(b, "k.all", batch, steps, groups, width))), values,
                        b.Add(new Affine(-1, 0), "g", b.Add(new Softplus(), "pace", Parameter(b, "a", batch, steps, heads))), .. corrects ? [b.Add(new Sigmoid(), "beta", Parameter(b, "b", batch, steps, heads))] : Array.Empty<Value>(),
                    ];
                    Value[] state = continues ? [b.Add(new StateRead("s", ChunkedRecurrence.StateOf(inputs[1].Shape, values.Shape)), "s")] : [];
                    Value[] results = b.AddMany(new ChunkedRecurrence(chunk, corrects), "y", [.. inputs, .. state]);
                    if (continues)
                    {
                        b.UpdateState("s", results[1]);
                    }

                    return [b.Add(new Tanh(), "t", results[0])];
                }, hasGradient: false);
            }
        }

        foreach ((int batch, int steps) in new[] { (1, 1), (2, 3), (3, 2) })
        {
            yield return Case($"preceded {batch} {steps} by what was before", b =>
            {
                Value all = b.Add(new Preceded(3), "all", b.Add(new Tanh(), "t", Parameter(b, "x", batch, steps, 5)), Parameter(b, "before", batch, 3, 5));
                return [b.Add(new Exp(), "late", b.Add(new LastSteps(3), "last", all)), b.Add(new Tanh(), "early", b.Add(new SliceSteps(1, steps), "slice", all)), b.Add(new Exp(), "whole", all)];
            });
            yield return Case($"preceded {batch} {steps} by zeros", b => [b.Add(new Preceded(2), "y", Parameter(b, "x", batch, steps, 6))]);
            yield return Case($"preceded product {batch} {steps}", b =>
                [b.Add(new SliceSteps(1, steps), "y", b.Add(new Preceded(2), "all", b.Add(new MatMul(MatMulForm.NT), "product", Parameter(b, "x", batch, steps, 6), Parameter(b, "w", 5, 6))))]);
            yield return Case($"pad_steps {batch} {steps}", b => [b.Add(new PadSteps(2, steps + 3), "y", Parameter(b, "x", batch, steps, 6)), b.Add(new PadSteps(0, steps), "z", Parameter(b, "x", batch, steps, 6))]);
        }

        foreach ((int rows, int experts, int depth, int columns) in new[] { (1, 1, 1, 1), (3, 2, 5, 7), (9, 4, 33, 18), (17, 3, 16, 4), (5, 7, 20, 65) })
        {
            foreach (bool transposed in new[] { false, true })
            {
                yield return Case($"expert_matmul{(transposed ? " transposed" : "")} {rows} {experts} {depth} {columns}", b =>
                    [b.Add(new Tanh(), "t", b.Add(new ExpertMatMul(transposed), "y", Parameter(b, "x", rows, depth), transposed ? Parameter(b, "w", experts, depth, columns) : Parameter(b, "w", experts, columns, depth), Indices(b, "experts", experts, rows)))]);
            }
        }

        yield return Case("expert_matmul of one expert twice", b =>
        {
            // Two products add to one weight's gradient.
            Value w = Parameter(b, "w", 3, 5, 5), indices = Indices(b, "experts", 3, 2, 3);
            Value first = b.Add(new ExpertMatMul(), "first", Parameter(b, "x", 2, 3, 5), w, indices);
            return [b.Add(new Tanh(), "t", b.Add(new ExpertMatMul(true), "second", b.Add(new Tanh(), "between", first), w, indices))];
        });
        yield return Case("expert_weight_gradient", b => [b.Add(new ExpertWeightGradient(3), "y", Parameter(b, "a", 7, 6), Parameter(b, "b", 7, 19), Indices(b, "experts", 3, 7))], hasGradient: false);
        foreach ((int batch, int steps, int experts, int chosen, int width) in new[] { (1, 1, 4, 2, 5), (2, 3, 5, 2, 6), (1, 9, 8, 3, 16), (3, 2, 2, 2, 7), (2, 4, 3, 1, 3) })
        {
            yield return Case($"route {batch} {steps} {experts} {chosen}", b =>
            {
                Value x = Parameter(b, "x", batch, steps, width), scores = b.Add(new Softmax(), "p", Parameter(b, "scores", batch, steps, experts));
                Value[] sent = b.AddMany(new Route(chosen), "route", [scores]);
                Value gathered = b.Add(new Embedding(), "rows", x, sent[Route.Rows]);
                Value answers = b.Add(new ExpertMatMul(), "answers", gathered, Parameter(b, "w", experts, 4, width), sent[Route.Experts]);
                Value own = b.Add(new Embedding(), "own", answers, sent[Route.Copies]);
                Value share = b.Add(new Embedding(), "share", b.Add(new Unsqueeze(0), "column", scores), sent[Route.Choices]);
                return [b.Add(new Tanh(), "t", b.Add(new Multiply(), "weighted", own, share)), b.Add(new Multiply(), "chosen", scores, sent[Route.Mask]), b.Add(new BalanceLoss(), "balance", scores, sent[Route.Mask])];
            });
        }

        yield return Case("embedding of a table of three extents", b => [b.Add(new Embedding(), "y", b.Add(new Tanh(), "t", Parameter(b, "x", 2, 3, 5)), Indices(b, "indices", 6, 4))]);
        yield return Case("rows_at_position all", b => [b.Add(new RowsAtPosition(7), "y", Parameter(b, "x", 7, 5))]);
        yield return Case("slice_rows", b =>
        {
            // Parts of one weight and of one bias; what no part covers has no gradient.
            Value w = Parameter(b, "w", 11, 5), c = Parameter(b, "c", 11), x = Parameter(b, "x", 4, 5);
            Value Part(int from, int rows) => b.Add(new Add(), "part", b.Add(new MatMul(MatMulForm.NT), "product", x, b.Add(new SliceRows(from, rows), "rows", w)), b.Add(new SliceRows(from, rows), "elements", c));
            return [b.Add(new Tanh(), "t", Part(0, 3)), Part(5, 6)];
        });
        yield return Case("slice_rows that meet", b =>
        {
            Value w = Parameter(b, "w", 9, 5);
            return [b.Add(new Tanh(), "t", b.Add(new SliceRows(1, 4), "first", w)), b.Add(new Exp(), "e", b.Add(new SliceRows(3, 6), "second", w))];
        });
        yield return Case("slice_rows of a value", b => [b.Add(new SliceRows(1, 3), "y", b.Add(new Tanh(), "t", Parameter(b, "x", 7, 5)))]);
        yield return Case("pad_rows between", b => [b.Add(new PadRows(9, 2), "y", Parameter(b, "x", 3, 5))], hasGradient: false);
        yield return Case("pad_rows", b => [b.Add(new PadRows(7), "y", Parameter(b, "x", 3, 5))], hasGradient: false);
        yield return Case("last_row", b => [b.Add(new Tanh(), "y", b.Add(new LastRow(), "last", Parameter(b, "x", 1, 5, 7)))], hasGradient: false);
        yield return Case("constant", b => [b.Add(new Multiply(), "y", Parameter(b, "x", 3, 5), OperatorCases.Constant(b, 2.5, Shape.Of(5)))]);
        yield return Case("runtime_scalar", b => [b.Add(new Multiply(), "y", Parameter(b, "x", 3, 5), b.Add(new RuntimeScalar(global::ModelGen.Compiler.Kernels.RuntimeScalarKind.LossNormalizer), "c"))]);
        yield return Case("state", b => [b.Add(new Multiply(), "y", Parameter(b, "x", 3, 5), b.Add(new StateRead("s", Shape.Of(3, 5)), "s"))]);
        yield return Case("append_state", b => [b.Add(new Tanh(), "y", b.Add(new AppendState(), "append", b.Add(new StateRead("s", Shape.Of(9, 5)), "s"), Parameter(b, "x", 1, 3, 5)))], hasGradient: false);

        yield return Case("scatter_rows", b =>
        {
            Value states = b.Add(new SequenceStates("s", Shape.Of(5, 7)), "s"), others = b.Add(new SequenceStates("o", Shape.Of(5, 20)), "o");
            Value sequences = Indices(b, "sequences", 5, 3);
            Value before = b.Add(new Embedding(), "gathered", states, sequences);
            b.UpdateState("s", b.Add(new ScatterRows(), "scattered", states, Parameter(b, "x", 3, 7), sequences));
            return [b.Add(new Tanh(), "y", before), b.Add(new Tanh(), "z", b.Add(new Embedding(), "other", others, sequences))];
        }, hasGradient: false);
        foreach (bool isRing in new[] { false, true })
        {
            yield return Case(isRing ? "scatter_rows around a ring" : "scatter_rows at positions", b =>
            {
                Value states = b.Add(new SequenceStates("s", Shape.Of(4, 9, 5)), "s"), others = b.Add(new SequenceStates("o", Shape.Of(4, 3)), "o");
                Value sequences = Indices(b, "sequences", 4, 3);
                Value after = b.Add(new ScatterRows { IsRing = isRing }, "scattered", states, Parameter(b, "x", 3, 1, 5), sequences, Indices(b, "positions", isRing ? 1000 : 9, 3));
                return [b.Add(new Tanh(), "y", after), b.Add(new Tanh(), "z", b.Add(new Embedding(), "other", others, sequences))];
            }, hasGradient: false);
        }

        foreach (OperatorCase attention in AttentionCases().Concat(RangeCases()))
        {
            yield return attention;
        }

        foreach (OperatorCase scan in ScanCases.Build().Concat(ScanCases.OverLengths()))
        {
            yield return scan;
        }
    }

    private static IEnumerable<OperatorCase> AttentionCases()
    {
        (int Batch, int Queries, int Keys, int Heads, int KeyValueHeads, int HeadDim, bool Causal)[] sizes =
        [
            (1, 1, 1, 1, 1, 1, true), (2, 3, 3, 2, 2, 5, true), (1, 7, 7, 2, 1, 3, true), (2, 5, 5, 4, 2, 2, false), (2, 3, 8, 1, 1, 4, false),
            (1, 17, 17, 3, 3, 8, true), (3, 2, 9, 2, 2, 7, false), (1, 33, 33, 1, 1, 2, true),
            (2, 1, 9, 8, 4, 8, false), (1, 1, 11, 2, 2, 8, false), (2, 1, 6, 4, 4, 4, false), (3, 1, 21, 1, 1, 16, false), (1, 1, 1, 8, 8, 4, true),
        ];
        foreach ((var s, double cap) in sizes.SelectMany(s => new[] { (s, 0.0), (s, 0.8) }))
        {
            var op = new Attention(s.Heads, s.KeyValueHeads, s.HeadDim, 1 / Math.Sqrt(s.HeadDim), s.Causal ? KeyRange.Causal : KeyRange.All) { SoftCap = cap };
            string text = $"b={s.Batch} q={s.Queries} k={s.Keys} {op.Attributes}";
            Value Q(GraphBuilder b) => Parameter(b, "q", s.Batch, s.Queries, s.Heads * s.HeadDim);
            Value Keys(GraphBuilder b, string name) => Parameter(b, name, s.Batch, s.Keys, s.KeyValueHeads * s.HeadDim);
            yield return Case($"attention {text}", b => [b.Add(op, "y", Q(b), Keys(b, "k"), Keys(b, "v"))]);
            yield return Case($"attention_gradient {text}", b =>
            {
                Value[] y = b.AddMany(op, "y", [Q(b), Keys(b, "k"), Keys(b, "v")]);
                return b.AddMany(new AttentionGradient(op), "d", [Q(b), Keys(b, "k"), Keys(b, "v"), y[0], y[1], Parameter(b, "cotangent", s.Batch, s.Queries, s.Heads * s.HeadDim)]);
            }, hasGradient: false);
        }

        foreach ((int batch, int queries, int keys, int heads, int keyHeads, int headDim, KeyRange range) in new (int, int, int, int, int, int, KeyRange)[]
        {
            (2, 5, 5, 4, 2, 3, KeyRange.Causal), (1, 19, 19, 1, 1, 20, KeyRange.Causal), (2, 3, 11, 2, 2, 4, KeyRange.All), (1, 1, 1, 2, 1, 5, KeyRange.Causal), (1, 6, 21, 3, 1, 7, KeyRange.Causal with { IsCached = true }), (1, 1, 9, 2, 2, 8, KeyRange.Causal with { IsCached = true }),
        })
        {
            var op = new Attention(heads, keyHeads, headDim, 0.5, range);
            yield return Case($"attention_weights b={batch} q={queries} k={keys} {op.Attributes}", b =>
            {
                Value Keys(string name) => range.IsCached ? b.Add(new AppendState(), name + ".cache", b.Add(new StateRead(name + ".state", Shape.Of(keys, keyHeads * headDim)), name + ".state"), Parameter(b, name, 1, queries, keyHeads * headDim)) : Parameter(b, name, batch, keys, keyHeads * headDim);
                Value q = Parameter(b, "q", batch, queries, heads * headDim), k = Keys("k");
                return [b.Add(new AttentionWeights(op, keys + 3), "weights", q, k, b.AddMany(op, "y", [q, k, Keys("v")])[1])];
            }, hasGradient: false);
        }

        foreach (bool cached in new[] { false, true })
        {
            // Of caches, one sequence's.
            foreach (KeyRange range in Ranges(cached).Where(r => r.Window is not null).Concat(Patterns(cached)).Where(r => r is { HasPositions: false, HasQueryLengths: false }))
            {
                int batch = cached ? 1 : 3;
                foreach ((ScoreBias? bias, double cap) in new (ScoreBias?, double)[] { (null, 0), (null, 0.8), (Biases[0], 0), (Biases[2], 0) })
                {
                    var op = new Attention(4, 2, 3, 0.5, range) { Bias = bias, SoftCap = cap };
                    yield return Case($"attention_weights of a part {op.Attributes}", b =>
                    {
                        Value Keys(string name) => !cached ? Parameter(b, name, batch, 9, 6)
                            : b.Add(new AppendState { IsRing = range.IsRing, Kept = range.IsRing ? range.Kept : 0 }, name + ".cache", b.Add(new StateRead(name + ".state", Shape.Of(17, 6)), name + ".state"), Parameter(b, name, 1, 9, 6));
                        Value q = Parameter(b, "q", batch, 9, 12), k = Keys("k");
                        Value[] given = [.. range.HasKeyLengths ? [Indices(b, "lengths", (cached ? 17 : 9) + 1, batch)] : Array.Empty<Value>(), .. BiasTable(b, op)];
                        return [b.Add(new AttentionWeights(op, 40), "weights", [q, k, b.AddMany(op, "y", [q, k, Keys("v"), .. given])[1], .. given])];
                    }, hasGradient: false);
                }
            }
        }

        foreach (ScoreBias bias in Biases.Take(3))
        {
            foreach (bool cached in new[] { false, true })
            {
                var op = new Attention(4, 2, 3, 0.5, KeyRange.Causal with { IsCached = cached }) { Bias = bias };
                yield return Case($"attention_weights with a bias {op.Attributes}", b =>
                {
                    Value Keys(string name) => cached ? b.Add(new AppendState(), name + ".cache", b.Add(new StateRead(name + ".state", Shape.Of(21, 6)), name + ".state"), Parameter(b, name, 1, 9, 6)) : Parameter(b, name, 1, 9, 6);
                    Value q = Parameter(b, "q", 1, 9, 12), k = Keys("k");
                    Value[] table = BiasTable(b, op);
                    return [b.Add(new AttentionWeights(op, 24), "weights", [q, k, b.AddMany(op, "y", [q, k, Keys("v"), .. table])[1], .. table])];
                }, hasGradient: false);
            }
        }

        foreach ((int batch, int queries, int keys, int heads, int keyHeads, int headDim) in new[] { (3, 1, 7, 2, 2, 8), (2, 5, 9, 4, 2, 3), (4, 1, 6, 1, 1, 20), (1, 19, 33, 2, 1, 4) })
        {
            var op = new Attention(heads, keyHeads, headDim, 0.5, KeyRange.All with { HasKeyLengths = true });
            var ofSequences = op with { Range = op.Range with { HasSequences = true } };
            Value Q(GraphBuilder b) => Parameter(b, "q", batch, queries, heads * headDim);
            yield return Case($"attention_weights b={batch} q={queries} k={keys} {op.Attributes}", b =>
            {
                Value Keys(string name) => Parameter(b, name, batch, keys, keyHeads * headDim);
                Value lengths = Indices(b, "lengths", keys + 1, batch);
                return [b.Add(new AttentionWeights(op, keys + 2), "weights", Q(b), Keys("k"), b.AddMany(op, "y", [Q(b), Keys("k"), Keys("v"), lengths])[1], lengths)];
            }, hasGradient: false);
            yield return Case($"attention_weights b={batch} q={queries} k={keys} {ofSequences.Attributes}", b =>
            {
                Value Stored(string name) => b.Add(new SequenceStates(name, Shape.Of(5, keys, keyHeads * headDim)), name);
                Value other = b.Add(new Embedding(), "other", b.Add(new SequenceStates("o", Shape.Of(5, 3)), "o"), Indices(b, "sequences", 5, batch));
                Value[] given = [Indices(b, "sequences", 5, batch), Indices(b, "lengths", keys + 1, batch)];
                Value logSums = b.AddMany(ofSequences, "y", [Q(b), Stored("k"), Stored("v"), .. given])[1];
                return [b.Add(new AttentionWeights(ofSequences, keys), "weights", [Q(b), Stored("k"), logSums, .. given]), b.Add(new Tanh(), "z", other)];
            }, hasGradient: false);
        }

        foreach (ScoreBias bias in Biases)
        {
            var op = new Attention(3, 3, 5, 0.3, KeyRange.Causal) { Bias = bias };
            yield return Case($"attention_gradient {op.Attributes}", b =>
            {
                Value[] factors = [Parameter(b, "q", 2, 11, 15), Parameter(b, "k", 2, 11, 15), Parameter(b, "v", 2, 11, 15)], table = BiasTable(b, op);
                Value[] y = b.AddMany(op, "y", [.. factors, .. table]);
                return b.AddMany(new AttentionGradient(op), "d", [.. factors, y[0], y[1], Parameter(b, "cotangent", 2, 11, 15), .. table]);
            }, hasGradient: false);
        }

        foreach ((int batch, int queries, int keys, int heads, int keyHeads, int headDim) in new[] { (3, 1, 7, 2, 2, 8), (2, 5, 9, 4, 2, 3), (4, 1, 6, 3, 1, 20), (1, 1, 5, 2, 2, 4) })
        {
            // Keys that are there already, of more sequences than the batch has.
            var op = new Attention(heads, keyHeads, headDim, 0.5, KeyRange.All with { HasSequences = true, HasKeyLengths = true });
            yield return Case($"attention of sequences b={batch} q={queries} k={keys} {op.Attributes}", b =>
            {
                Value Stored(string name) => b.Add(new SequenceStates(name, Shape.Of(5, keys, keyHeads * headDim)), name);
                Value other = b.Add(new Embedding(), "other", b.Add(new SequenceStates("o", Shape.Of(5, 3)), "o"), Indices(b, "sequences", 5, batch));
                return [b.Add(op, "y", Parameter(b, "q", batch, queries, heads * headDim), Stored("k"), Stored("v"), Indices(b, "sequences", 5, batch), Indices(b, "lengths", keys + 1, batch)), b.Add(new Tanh(), "z", other)];
            }, hasGradient: false);
        }

        yield return Case("clamp from above", b => [b.Add(new Clamp(double.NegativeInfinity, 0.4), "y", Parameter(b, "apart", 3, 17))]);
        foreach ((int heads, int keyHeads, KeyRange range, double cap, ScoreBias? bias) in new (int, int, KeyRange, double, ScoreBias?)[]
        {
            (3, 3, KeyRange.Causal, 0, null), (4, 2, KeyRange.Causal with { Window = 2 }, 0, null), (2, 1, KeyRange.All, 2, null), (4, 2, KeyRange.Causal, 0, new AlibiBias()), (2, 2, KeyRange.Causal, 0, new RelativeBias(6, 9, IsBidirectional: false)),
        })
        {
            var op = new Attention(heads, keyHeads, 5, 0.4, range) { SoftCap = cap, Bias = bias };
            yield return Case($"attention with sinks{op.Attributes}", b =>
            {
                Value[] inputs = [Parameter(b, "q", 2, 7, heads * 5), Parameter(b, "k", 2, 7, keyHeads * 5), Parameter(b, "v", 2, 7, keyHeads * 5), .. BiasTable(b, op)];
                Value[] plain = b.AddMany(op, "y", inputs);
                return [b.AddMany(new AttentionSinks(op), "sunk", [plain[0], plain[1], Parameter(b, "sinks", heads), .. inputs])[0]];
            });
            yield return Case($"attention weights with sinks{op.Attributes}", b =>
            {
                Value[] inputs = [Parameter(b, "q", 2, 7, heads * 5), Parameter(b, "k", 2, 7, keyHeads * 5), Parameter(b, "v", 2, 7, keyHeads * 5), .. BiasTable(b, op)];
                Value[] plain = b.AddMany(op, "y", inputs);
                Value sum = b.AddMany(new AttentionSinks(op), "sunk", [plain[0], plain[1], Parameter(b, "sinks", heads), .. inputs])[1];
                return [b.Add(new AttentionWeights(op with { HasSinks = true }, 9), "weights", [inputs[0], inputs[1], sum, .. inputs.Skip(3)])];
            }, hasGradient: false);
        }

        yield return Case("attention on itself", b =>
        {
            Value x = Parameter(b, "x", 2, 3, 6);
            return [b.Add(new Attention(2, 2, 3, 0.5, KeyRange.Causal), "y", x, x, x)];
        });
        yield return Case("attention on slices", b =>
        {
            Value x = Parameter(b, "x", 2, 5, 18);
            return [b.Add(new Attention(2, 2, 3, 0.5, KeyRange.Causal), "y", b.Add(new SliceColumns(0, 6), "q", x), b.Add(new SliceColumns(6, 6), "k", x), b.Add(new SliceColumns(12, 6), "v", x))];
        });
        foreach (bool causal in new[] { true, false })
        {
            yield return Case($"attention cached{(causal ? " causal" : "")}", b =>
            {
                Value q = Parameter(b, "q", 1, 3, 10);
                Value keys = b.Add(new AppendState(), "keys", b.Add(new StateRead("k", Shape.Of(11, 5)), "k"), Parameter(b, "nk", 1, 3, 5));
                Value values = b.Add(new AppendState(), "values", b.Add(new StateRead("v", Shape.Of(11, 5)), "v"), Parameter(b, "nv", 1, 3, 5));
                return [b.Add(new Attention(2, 1, 5, 0.4, new KeyRange { IsCausal = causal, IsCached = true }), "y", q, keys, values)];
            }, hasGradient: false);
        }
    }

    /// <summary>Attention over a range, with all that it asks for; where it is cached, over caches that the run's keys and values are appended to.</summary>
    public static Value Attend(GraphBuilder b, Attention op, Dim batch, Dim queries, int keys)
    {
        KeyRange range = op.Range;
        Value Rows(string name, Dim rows, int heads) => Parameter(b, name, batch, rows, heads * op.HeadDim);
        Value PerSequence(string name, int classes) => b.Add(new Input(name, TensorType.Int(Shape.Of(batch)), classes), name);
        Value[] given = [.. range.InputNames.Select(n => PerSequence(n, range.LimitOf(n, queries.Maximum, keys, 0) ?? 3 * keys))];
        Value Given(string name) => given[range.InputNames.ToList().IndexOf(name)];
        Value Memory(string name)
        {
            if (!range.IsCached)
            {
                return Rows(name, keys, op.KeyValueHeads);
            }

            int columns = op.KeyValueHeads * op.HeadDim;
            Value state = b.Add(new StateRead(name, batch == (Dim)1 && !range.VariesBySequence ? Shape.Of(keys, columns) : Shape.Of(batch, keys, columns)), name);
            List<Value> inputs = [state, Rows("new_" + name, queries, op.KeyValueHeads)];
            inputs.AddRange(range.InputNames.Where(n => n != "keyLengths").Select(Given));
            return b.Add(new AppendState { IsRing = range.IsRing, Kept = range.IsRing ? range.Kept : 0, HasPositions = range.HasPositions, HasLengths = range.HasQueryLengths }, name, [.. inputs]);
        }

        return b.Add(op, "y", [Rows("q", queries, op.Heads), Memory("k"), Memory("v"), .. given, .. BiasTable(b, op)]);
    }

    /// <summary>The table that a learned bias is looked up in.</summary>
    public static Value[] BiasTable(GraphBuilder b, Attention op) => op.HasTable ? [Parameter(b, "bias", op.Bias!.TableRows, op.Heads)] : [];

    /// <summary>What may be added to scores: slopes, and tables with buckets of one position, of several, and of none.</summary>
    public static IReadOnlyList<ScoreBias> Biases { get; } =
    [
        new AlibiBias(), new RelativeBias(8, 20, false), new RelativeBias(6, 9, true), new RelativeBias(32, 20, false), new RelativeBias(32, 128, true), new RelativeBias(2, 3, false),
    ];

    /// <summary>Patterns of keys that do not lie side by side, with and without lengths, over sequences and over caches.</summary>
    public static IEnumerable<KeyRange> Patterns(bool cached)
    {
        int number = 0;
        foreach (KeyRange pattern in new KeyRange[]
        {
            new() { Window = 2, Pattern = new GlobalKeys(3) }, new() { Window = 0, Pattern = new GlobalKeys(1) }, new() { Pattern = new StridedKeys(3) }, new() { Pattern = new StridedKeys(1) },
            new() { Pattern = new StridedKeys(50) }, new() { Pattern = new FixedKeys(4, 1) }, new() { Pattern = new FixedKeys(3, 2) }, new() { Pattern = new FixedKeys(5, 5) },
        })
        {
            foreach (int lengths in new[] { 0, number++ % 3 + 1 })
            {
                if (!cached)
                {
                    yield return pattern with { HasQueryLengths = (lengths & 1) != 0, HasKeyLengths = (lengths & 2) != 0 };
                }

                KeyRange range = pattern with { IsCausal = true, IsCached = cached, HasQueryLengths = (lengths & 1) != 0, HasKeyLengths = (lengths & 2) != 0, HasPositions = cached && number % 2 == 0 };
                yield return range;
                if (cached && range is { Window: not null, HasKeyLengths: false })
                {
                    yield return range with { IsRing = true };
                    yield return range with { IsRing = true, HasPositions = true };
                }
            }
        }
    }

    /// <summary>Every combination of the rules of a key range that makes sense, with some windows.</summary>
    public static IEnumerable<KeyRange> Ranges(bool cached)
    {
        foreach (bool causal in new[] { false, true })
        {
            foreach (int? window in new int?[] { null, 0, 1, 4 })
            {
                foreach (int lengths in Enumerable.Range(0, 4))
                {
                    var range = new KeyRange { IsCausal = causal, Window = window, IsCached = cached, HasQueryLengths = (lengths & 1) != 0, HasKeyLengths = (lengths & 2) != 0 };
                    yield return range;
                    if (cached)
                    {
                        yield return range with { HasPositions = true };
                    }

                    if (cached && causal && window is not null && !range.HasKeyLengths)
                    {
                        yield return range with { IsRing = true };
                        yield return range with { IsRing = true, HasPositions = true };
                    }
                }
            }
        }
    }

    /// <summary>Attention over every kind of key range.</summary>
    private static IEnumerable<OperatorCase> RangeCases()
    {
        foreach ((int queries, int heads, int keyHeads, int headDim, int? window) in new (int, int, int, int, int?)[] { (1, 3, 3, 5, null), (1, 4, 2, 20, null), (1, 8, 8, 4, null), (1, 16, 16, 4, null), (1, 2, 2, 8, 3), (4, 2, 1, 7, null) })
        {
            var op = new Attention(heads, keyHeads, headDim, 0.5, new KeyRange { IsCausal = true, Window = window, IsCached = true, HasSequences = true, HasPositions = true });
            yield return Case($"attention of sequences q={queries} {op.Attributes}", b =>
            {
                Value Caches(string name) => b.Add(new SequenceStates(name, Shape.Of(5, 13, keyHeads * headDim)), name);
                return [b.Add(op, "y", Parameter(b, "q", 3, queries, heads * headDim), Caches("k"), Caches("v"), Indices(b, "sequences", 5, 3), Indices(b, "positions", 13, 3))];
            }, hasGradient: false);
        }

        int drawn = 0;
        foreach (bool cached in new[] { false, true })
        {
            foreach (KeyRange range in Patterns(cached))
            {
                ScoreBias? bias = drawn++ % 2 == 0 ? null : Biases[drawn / 2 % Biases.Count];
                foreach ((int batch, int queries, int heads, int keyHeads, int headDim) in new[] { (2, 9, 4, 2, 3), (1, 1, 2, 2, 19), (3, 5, 2, 1, 16) })
                {
                    var op = new Attention(heads, keyHeads, headDim, 0.5, range) { Bias = bias };
                    yield return Case($"attention to a pattern b={batch} q={queries} {op.Attributes}", b => [Attend(b, op, batch, queries, cached ? 17 : queries)], hasGradient: !cached);
                }
            }

            foreach (KeyRange range in Ranges(cached))
            {
                // One bias after the other, for ranges of every kind.
                ScoreBias bias = Biases[drawn++ % Biases.Count];
                foreach ((int batch, int queries, int heads, int keyHeads, int headDim) in new[] { (2, 7, 6, 2, 3), (2, 1, 4, 4, 4), (3, 1, 2, 1, 19) })
                {
                    int keys = cached ? 17 : range.IsCausal || range.Window is not null ? queries : queries + 3;
                    var op = new Attention(heads, keyHeads, headDim, 0.5, range) { Bias = bias };
                    yield return Case($"attention with a bias b={batch} q={queries} k={keys} {op.Attributes}", b => [Attend(b, op, batch, queries, keys)], hasGradient: !cached);
                }

                int number = 0;
                foreach ((int batch, int queries, int heads, int keyHeads, int headDim) in new[] { (3, 5, 2, 1, 3), (4, 1, 2, 2, 4) })
                {
                    int keys = cached ? 9 : range.IsCausal || range.Window is not null ? queries : queries + 3;
                    string text = $"b={batch} q={queries} k={keys}{range.Attributes} #{number++}";
                    yield return Case($"attention {text}", b => [Attend(b, new Attention(heads, keyHeads, headDim, 0.5, range), batch, queries, keys)], hasGradient: !cached);
                }
            }
        }
    }

    public static Dim[] Dims(int[] dims) => [.. dims.Select(d => (Dim)d)];

    private static string Text(int[] dims) => "[" + string.Join(",", dims) + "]";
}
