using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace ModelGen.Runtime;

/// <summary>
/// Blocks of quantized weights whose scales are searched for, so that the weighted squared error is least. With an importance matrix a weight counts as much as its column's mean square of inputs,
/// in most formats times √(σ² + x²) besides; without one, larger elements count for more. Given the same numbers, ggml's <c>ggml_quantize_chunk</c> writes the same bytes: parts of a block are searched side by side, a part a lane,
/// so that each sum is added in the order of its elements.
/// </summary>
internal static class WeightedBlocks
{
    // What ggml takes for zero.
    private const float LeastGroup = 1e-15f;

    // Parts that are searched side by side.
    private const int Lanes = 8;

    private static ReadOnlySpan<sbyte> NonLinear => GgmlBlocks.NonLinear;

    /// <summary>Whether scales of a format are searched for, importance or not.</summary>
    public static bool Searches(GgmlType type) => type is GgmlType.Q4_K or GgmlType.Q5_K or GgmlType.Q6_K or GgmlType.IQ4_NL;

    /// <summary>Writes a row.</summary>
    /// <param name="type">The format.</param>
    /// <param name="row">The row, whole blocks.</param>
    /// <param name="importance">The importance of each column; empty where there is none, for a format for which <see cref="Searches"/> holds.</param>
    /// <param name="destination">The blocks.</param>
    public static void Write(GgmlType type, ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<byte> destination)
    {
        (int elements, int bytes) = GgmlBlocks.Size(type);
        bool isSmall = type is GgmlType.Q4_0 or GgmlType.Q4_1 or GgmlType.Q5_0 or GgmlType.Q5_1;
        if (!isSmall && !Searches(type))
        {
            // What the others choose does not ask for it.
            GgmlBlocks.Write(type, row, destination);
            return;
        }

        float variance = isSmall ? SumOfSquares(row) / row.Length : 0;
        for (int start = 0; start < row.Length; start += elements)
        {
            ReadOnlySpan<float> values = row.Slice(start, elements);
            ReadOnlySpan<float> columns = importance.IsEmpty ? [] : importance.Slice(start, elements);
            Span<byte> block = destination.Slice(start / elements * bytes, bytes);
            switch (type)
            {
                case GgmlType.Q4_K:
                    WriteQ4Or5(values, columns, [], block[16..], block);
                    break;
                case GgmlType.Q5_K:
                    WriteQ4Or5(values, columns, block.Slice(16, 32), block[48..], block);
                    break;
                case GgmlType.Q6_K:
                    WriteQ6(values, columns, block);
                    break;
                case GgmlType.IQ4_NL:
                    WriteNonLinear(values, columns, block);
                    break;
                default:
                    WriteSmall(type, values, columns, variance, block);
                    break;
            }
        }
    }

    private static void WriteSmall(GgmlType type, ReadOnlySpan<float> values, ReadOnlySpan<float> importance, float variance, Span<byte> block)
    {
        const int Count = 32;
        Span<Vector256<float>> spread = stackalloc Vector256<float>[Count], weights = stackalloc Vector256<float>[Count], levels = stackalloc Vector256<float>[Count];
        for (int i = 0; i < Count; i++)
        {
            spread[i] = Vector256.Create(values[i]);
            weights[i] = Vector256.Create(importance[i] * MathF.Sqrt(variance + (values[i] * values[i])));
        }

        bool hasMinimum = type is GgmlType.Q4_1 or GgmlType.Q5_1;
        bool hasFifths = type is GgmlType.Q5_0 or GgmlType.Q5_1;
        int most = hasFifths ? 32 : 16;
        float scale;
        int at = 2;
        if (hasMinimum)
        {
            scale = Affine(spread, weights, most - 1, Grids.Many, levels, out Vector256<float> less).ToScalar();
            BitConverter.TryWriteBytes(block[2..], (Half)(-less.ToScalar()));
            at = 4;
        }
        else
        {
            scale = Symmetric(spread, weights, most / 2, levels).ToScalar();
        }

        BitConverter.TryWriteBytes(block, (Half)scale);
        uint fifths = 0;
        int low = at + (hasFifths ? 4 : 0);
        for (int i = 0; i < 16; i++)
        {
            (int first, int second) = ((int)levels[i].ToScalar(), (int)levels[i + 16].ToScalar());
            block[low + i] = (byte)((first & 15) | ((second & 15) << 4));
            fifths |= ((uint)(first >> 4) << i) | ((uint)(second >> 4) << (i + 16));
        }

        if (hasFifths)
        {
            BitConverter.TryWriteBytes(block[at..], fifths);
        }
    }

    private static void WriteQ4Or5(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, Span<byte> fifths, Span<byte> quarters, Span<byte> block)
    {
        const int Count = 32;
        int most = fifths.IsEmpty ? 15 : 31;
        Span<Vector256<float>> parts = stackalloc Vector256<float>[Count], weights = stackalloc Vector256<float>[Count], levels = stackalloc Vector256<float>[Count];
        Beside(values, parts);
        if (importance.IsEmpty)
        {
            Vector256<float> squares = Vector256<float>.Zero;
            foreach (Vector256<float> value in parts)
            {
                squares += value * value;
            }

            Vector256<float> deviation = Vector256.Sqrt(squares / Vector256.Create((float)Count));
            for (int i = 0; i < Count; i++)
            {
                weights[i] = deviation + Vector256.Abs(parts[i]);
            }
        }
        else
        {
            Beside(importance, weights);
            var variance = Vector256.Create(2 * SumOfSquares(values) / values.Length);
            for (int i = 0; i < Count; i++)
            {
                weights[i] *= Vector256.Sqrt(variance + (parts[i] * parts[i]));
            }
        }

        Grids grids = !importance.IsEmpty ? Grids.Many : fifths.IsEmpty ? Grids.Wide : Grids.Narrow;
        Vector256<float> steps = Affine(parts, weights, most, grids, levels, out Vector256<float> minima);

        // Scales and minima are numbers of 6 bits themselves.
        Span<int> sixScales = stackalloc int[Lanes], sixMinima = stackalloc int[Lanes];
        float scale, minimum;
        if (importance.IsEmpty)
        {
            scale = Sixes(steps, sixScales);
            minimum = Sixes(minima, sixMinima);
        }
        else
        {
            // Those of heavy parts count more.
            Vector256<float> sums = Vector256<float>.Zero;
            foreach (Vector256<float> weight in weights)
            {
                sums += weight;
            }

            scale = Positive(Elements(ref steps), Elements(ref sums), 63, sixScales);
            minimum = Positive(Elements(ref minima), Elements(ref sums), 63, sixMinima);
        }

        block.Clear();
        BitConverter.TryWriteBytes(block, (Half)scale);
        BitConverter.TryWriteBytes(block[2..], (Half)minimum);
        for (int part = 0; part < Lanes; part++)
        {
            SuperBlocks.PutSixes(block.Slice(4, 12), part, sixScales[part], sixMinima[part]);
            float step = (float)(Half)scale * sixScales[part], less = (float)(Half)minimum * sixMinima[part];
            for (int i = 0; i < Count; i++)
            {
                int level = step != 0 ? Math.Clamp(Nearest((values[(Count * part) + i] + less) / step), 0, most) : (int)levels[i][part];
                quarters[(Count * (part / 2)) + i] |= (byte)((level & 15) << (4 * (part % 2)));
                if (level > 15)
                {
                    fifths[i] |= (byte)(1 << part);
                }
            }
        }
    }

    private static void WriteQ6(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, Span<byte> block)
    {
        const int Parts = 16, Count = 16;
        Span<Vector256<float>> parts = stackalloc Vector256<float>[Count], weights = stackalloc Vector256<float>[Count], levels = stackalloc Vector256<float>[2 * Count];
        Span<float> scales = stackalloc float[Parts];
        for (int half = 0; half < 2; half++)
        {
            Beside(values.Slice(128 * half, 128), parts);
            if (importance.IsEmpty)
            {
                for (int i = 0; i < Count; i++)
                {
                    weights[i] = parts[i] * parts[i];
                }
            }
            else
            {
                Beside(importance.Slice(128 * half, 128), weights);
            }

            Symmetric(parts, weights, 32, levels.Slice(Count * half, Count)).CopyTo(scales[(Lanes * half)..]);
        }

        float extreme = GgmlBlocks.Extreme(scales);
        block.Clear();
        if (Math.Abs(extreme) < LeastGroup)
        {
            return;
        }

        float by = -128 / extreme;
        var stored = (Half)(1 / by);
        BitConverter.TryWriteBytes(block[208..], stored);
        for (int part = 0; part < Parts; part++)
        {
            int eight = Math.Clamp(Nearest(by * scales[part]), -128, 127);
            block[192 + part] = (byte)(sbyte)eight;
            float step = (float)stored * eight;
            (int half, int quarter) = (part / 8, part % 8 / 2);
            for (int i = 0; i < Count; i++)
            {
                int level = step != 0 ? Math.Clamp(Nearest(values[(Count * part) + i] / step), -32, 31) + 32 : (int)levels[(Count * half) + i][part % Lanes];
                block[(64 * half) + (32 * (quarter % 2)) + (16 * (part % 2)) + i] |= (byte)((level & 15) << (4 * (quarter / 2)));
                block[128 + (32 * half) + (16 * (part % 2)) + i] |= (byte)(level >> 4 << (2 * quarter));
            }
        }
    }

    // x ≈ s·t, t of a table: of the grid in which the element farthest from zero is opposite to the table's first and 15 around the one in which it is that, the scale of the least weighted error.
    private static void WriteNonLinear(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, Span<byte> block)
    {
        const int Tries = 7;
        float extreme = GgmlBlocks.Extreme(values), variance = 2 * SumOfSquares(values) / values.Length, scale = 0;
        Span<float> weights = stackalloc float[32];
        Span<int> places = stackalloc int[32];
        if (Math.Abs(extreme) >= LeastGroup)
        {
            for (int i = 0; i < weights.Length; i++)
            {
                weights[i] = importance.IsEmpty ? values[i] * values[i] : importance[i] * MathF.Sqrt(variance + (values[i] * values[i]));
            }

            (float product, float square) = Fit(values, weights, 1 / (-extreme / NonLinear[0]), places);
            scale = square > 0 ? product / square : 0;
            float best = scale * product;
            for (int step = -Tries; step <= Tries; step++)
            {
                (product, square) = Fit(values, weights, (step + NonLinear[0]) / extreme, places);
                if (square > 0 && product * product > best * square)
                {
                    scale = product / square;
                    best = scale * product;
                }
            }
        }

        BitConverter.TryWriteBytes(block, (Half)scale);
        Places(values, scale != 0 ? 1 / scale : 0, places);
        for (int i = 0; i < 16; i++)
        {
            block[2 + i] = (byte)(places[i] | (places[i + 16] << 4));
        }

        static (float Product, float Square) Fit(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, float by, Span<int> places)
        {
            (float product, float square) = (0, 0);
            Places(values, by, places);
            for (int i = 0; i < values.Length; i++)
            {
                float number = NonLinear[places[i]];
                product += weights[i] * number * values[i];
                square += weights[i] * number * number;
            }

            return (product, square);
        }

        // The nearest of the table; of two as near the larger one.
        static void Places(ReadOnlySpan<float> values, float by, Span<int> places)
        {
            for (int i = 0; i < values.Length; i += Lanes)
            {
                Vector256<float> scaled = Vector256.Create(values.Slice(i, Lanes)) * by;
                Vector256<int> place = Vector256<int>.Zero;
                for (int next = 1; next < NonLinear.Length; next++)
                {
                    // What holds is all bits: −1.
                    place -= Vector256.GreaterThanOrEqual(scaled - Vector256.Create((float)NonLinear[next - 1]), Vector256.Create((float)NonLinear[next]) - scaled).AsInt32();
                }

                place.CopyTo(places[i..]);
            }
        }
    }

    private static float SumOfSquares(ReadOnlySpan<float> values)
    {
        float sum = 0;
        foreach (float value in values)
        {
            sum += value * value;
        }

        return sum;
    }

    /// <summary>Eight parts beside each other: of each its first elements, then of each its second ones, and so on.</summary>
    private static void Beside(ReadOnlySpan<float> values, Span<Vector256<float>> parts)
    {
        Span<float> elements = MemoryMarshal.Cast<Vector256<float>, float>(parts);
        for (int part = 0; part < Lanes; part++)
        {
            for (int i = 0; i < parts.Length; i++)
            {
                elements[(Lanes * i) + part] = values[(parts.Length * part) + i];
            }
        }
    }

    private static ReadOnlySpan<float> Elements(ref Vector256<float> vector) => MemoryMarshal.CreateReadOnlySpan(ref Unsafe.As<Vector256<float>, float>(ref vector), Lanes);

    /// <summary>Numbers of 6 bits of which the largest value's is 63, and what multiplies them.</summary>
    private static float Sixes(Vector256<float> values, Span<int> sixes)
    {
        float largest = 0;
        foreach (float value in Elements(ref values))
        {
            largest = Math.Max(largest, value);
        }

        float by = largest > 0 ? 63 / largest : 0;
        for (int part = 0; part < Lanes; part++)
        {
            sixes[part] = Math.Clamp(Nearest(by * values[part]), 0, 63);
        }

        return largest / 63;
    }

    /// <summary>x ≈ s·(l − n), l from 0 to 2n − 1, of each part: of 19 grids around the one in which the element farthest from zero is −n, that of the least weighted error with the scale that is best for it.</summary>
    private static Vector256<float> Symmetric(ReadOnlySpan<Vector256<float>> values, ReadOnlySpan<Vector256<float>> weights, int half, Span<Vector256<float>> levels)
    {
        Vector256<float> extreme = Vector256<float>.Zero;
        foreach (Vector256<float> value in values)
        {
            extreme = Vector256.ConditionalSelect(Vector256.GreaterThan(Vector256.Abs(value), Vector256.Abs(extreme)), value, extreme);
        }

        (Vector256<float> product, Vector256<float> square) = Fit(values, weights, Vector256.Create((float)-half) / extreme, half, levels);
        Vector256<float> scale = Vector256.ConditionalSelect(Vector256.Equals(square, Vector256<float>.Zero), Vector256<float>.Zero, product / square);
        Vector256<float> best = scale * product;
        Span<Vector256<float>> tried = stackalloc Vector256<float>[values.Length];
        for (int step = -9; step <= 9; step++)
        {
            if (step == 0)
            {
                continue;
            }

            (product, square) = Fit(values, weights, Vector256.Create(-(half + (0.1f * step))) / extreme, half, tried);
            Vector256<float> isBetter = Vector256.GreaterThan(square, Vector256<float>.Zero) & Vector256.GreaterThan(product * product, best * square);
            Keep(isBetter, tried, levels);
            scale = Vector256.ConditionalSelect(isBetter, product / square, scale);
            best = Vector256.ConditionalSelect(isBetter, scale * product, best);
        }

        // Of a part that is nothing, levels of zero, which are worth nothing at this scale.
        Vector256<float> isSomething = Vector256.GreaterThanOrEqual(Vector256.Abs(extreme), Vector256.Create(LeastGroup));
        for (int i = 0; i < levels.Length; i++)
        {
            levels[i] &= isSomething;
        }

        return scale & isSomething;

        static (Vector256<float> Product, Vector256<float> Square) Fit(ReadOnlySpan<Vector256<float>> values, ReadOnlySpan<Vector256<float>> weights, Vector256<float> by, int half, Span<Vector256<float>> found)
        {
            (Vector256<float> product, Vector256<float> square) = (Vector256<float>.Zero, Vector256<float>.Zero);
            for (int i = 0; i < values.Length; i++)
            {
                Vector256<float> level = Nearest(by * values[i], -half, half - 1);
                found[i] = level + Vector256.Create((float)half);
                product += weights[i] * values[i] * level;
                square += weights[i] * level * level;
            }

            return (product, square);
        }
    }

    /// <summary>
    /// x ≈ s·l − m, l from 0 to n and m ≥ 0, of each part: of the grid from the least element to the largest and those that are tried besides, that of the least weighted error with the scale and the minimum that are best for it
    /// by least squares.
    /// </summary>
    private static Vector256<float> Affine(ReadOnlySpan<Vector256<float>> values, ReadOnlySpan<Vector256<float>> weights, int most, Grids grids, Span<Vector256<float>> levels, out Vector256<float> less)
    {
        (Vector256<float> least, Vector256<float> largest, Vector256<float> sum, Vector256<float> sumOfValues) = (values[0], values[0], weights[0], weights[0] * values[0]);
        for (int i = 1; i < values.Length; i++)
        {
            // Of two zeros the first, which Min does not leave.
            least = Vector256.ConditionalSelect(Vector256.LessThan(values[i], least), values[i], least);
            largest = Vector256.Max(largest, values[i]);
            sum += weights[i];
            sumOfValues += weights[i] * values[i];
        }

        least = Vector256.ConditionalSelect(Vector256.GreaterThan(least, Vector256<float>.Zero), Vector256<float>.Zero, least);
        Vector256<float> isSomething = Vector256.GreaterThan(largest, least);
        Vector256<float> by = Vector256.Create((float)most) / (largest - least);
        (Vector256<float> scale, Vector256<float> minimum, Vector256<float> best) = (Vector256<float>.One / by, least, Vector256<float>.Zero);
        for (int i = 0; i < values.Length; i++)
        {
            levels[i] = Nearest(by * (values[i] - least), 0, most);
            Vector256<float> error = (scale * levels[i]) + minimum - values[i];
            best += weights[i] * (error * error);
        }

        Span<Vector256<float>> tried = stackalloc Vector256<float>[values.Length];
        for (int step = 0; step <= grids.Count; step++)
        {
            // From the best minimum so far on.
            by = Vector256.Create(grids.First + (grids.Step * step) + most) / (largest - minimum);
            (Vector256<float> sumOfLevels, Vector256<float> sumOfSquares, Vector256<float> sumOfProducts) = (Vector256<float>.Zero, Vector256<float>.Zero, Vector256<float>.Zero);
            for (int i = 0; i < values.Length; i++)
            {
                Vector256<float> level = tried[i] = Nearest(by * (values[i] - minimum), 0, most);
                sumOfLevels += weights[i] * level;
                sumOfSquares += weights[i] * level * level;
                sumOfProducts += weights[i] * level * values[i];
            }

            Vector256<float> determinant = (sum * sumOfSquares) - (sumOfLevels * sumOfLevels);
            Vector256<float> thisScale = ((sum * sumOfProducts) - (sumOfValues * sumOfLevels)) / determinant;
            Vector256<float> thisMinimum = ((sumOfSquares * sumOfValues) - (sumOfLevels * sumOfProducts)) / determinant;
            Vector256<float> isAbove = Vector256.GreaterThan(thisMinimum, Vector256<float>.Zero);
            thisMinimum = Vector256.AndNot(thisMinimum, isAbove);
            thisScale = Vector256.ConditionalSelect(isAbove, sumOfProducts / sumOfSquares, thisScale);
            Vector256<float> total = Vector256<float>.Zero;
            for (int i = 0; i < values.Length; i++)
            {
                Vector256<float> error = (thisScale * tried[i]) + thisMinimum - values[i];
                total += weights[i] * (error * error);
            }

            Vector256<float> isBetter = Vector256.GreaterThan(determinant, Vector256<float>.Zero) & Vector256.LessThan(total, best);
            Keep(isBetter, tried, levels);
            best = Vector256.ConditionalSelect(isBetter, total, best);
            scale = Vector256.ConditionalSelect(isBetter, thisScale, scale);
            minimum = Vector256.ConditionalSelect(isBetter, thisMinimum, minimum);
        }

        for (int i = 0; i < levels.Length; i++)
        {
            levels[i] &= isSomething;
        }

        less = -Vector256.ConditionalSelect(isSomething, minimum, least);
        return scale & isSomething;
    }

    private static void Keep(Vector256<float> isBetter, ReadOnlySpan<Vector256<float>> tried, Span<Vector256<float>> levels)
    {
        if (isBetter.AsInt32() == Vector256<int>.Zero)
        {
            return;
        }

        for (int i = 0; i < tried.Length; i++)
        {
            levels[i] = Vector256.ConditionalSelect(isBetter, tried[i], levels[i]);
        }
    }

    /// <summary>x ≈ s·l, l from 0 to n, for x ≥ 0: the best of 9 grids, and then each level by itself as long as that makes the weighted error less.</summary>
    private static float Positive(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, int most, Span<int> levels)
    {
        float largest = 0;
        foreach (float value in values)
        {
            largest = Math.Max(largest, value);
        }

        levels.Clear();
        if (largest < LeastGroup)
        {
            return 0;
        }

        float by = most / largest;
        float best = Error(values, weights, by, 1 / by);
        for (int step = -4; step <= 4; step++)
        {
            float tried = ((0.1f * step) + most) / largest;
            if (step != 0 && Error(values, weights, tried, 1 / tried) is float error && error < best)
            {
                (best, by) = (error, tried);
            }
        }

        (float product, float square) = (0, 0);
        for (int i = 0; i < values.Length; i++)
        {
            int level = levels[i] = Level(by * values[i]);
            product += weights[i] * values[i] * level;
            square += weights[i] * level * level;
        }

        for (int round = 0; round < 5; round++)
        {
            bool isChanged = false;
            for (int i = 0; i < values.Length; i++)
            {
                float productOfOthers = product - (weights[i] * values[i] * levels[i]);
                float squareOfOthers = square - (weights[i] * levels[i] * levels[i]);
                if (!(productOfOthers > 0 && squareOfOthers > 0))
                {
                    continue;
                }

                int level = Level(values[i] * squareOfOthers / productOfOthers);
                if (level == levels[i])
                {
                    continue;
                }

                productOfOthers += weights[i] * values[i] * level;
                squareOfOthers += weights[i] * level * level;
                if (productOfOthers * productOfOthers * square > product * product * squareOfOthers)
                {
                    (levels[i], product, square, isChanged) = (level, productOfOthers, squareOfOthers, true);
                }
            }

            if (!isChanged)
            {
                break;
            }
        }

        return square > 0 ? product / square : 0;

        int Level(float value) => Math.Clamp(Nearest(value), 0, most);

        float Error(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, float by, float scale)
        {
            float sum = 0;
            for (int i = 0; i < values.Length; i++)
            {
                float difference = values[i] - (scale * Level(by * values[i]));
                sum += weights[i] * difference * difference;
            }

            return sum;
        }
    }

    // Halves to the even one.
    private static int Nearest(float value) => (int)MathF.Round(Math.Clamp(value, -4e6f, 4e6f));

    private static Vector256<float> Nearest(Vector256<float> value, int least, int most)
        => Vector256.Min(Vector256.Max(Vector256.Round(value), Vector256.Create((float)least)), Vector256.Create((float)most));

    /// <summary>The grids that are tried besides the plain one: how many levels more than there are in the first, in what steps, and how many steps.</summary>
    private readonly record struct Grids(float First, float Step, int Count)
    {
        /// <summary>Those by an importance matrix.</summary>
        public static Grids Many => new(-0.9f, 0.05f, 36);

        /// <summary>Those of 16 levels without one.</summary>
        public static Grids Wide => new(-1, 0.1f, 20);

        /// <summary>Those of 32 levels without one.</summary>
        public static Grids Narrow => new(-0.5f, 0.1f, 15);
    }
}
