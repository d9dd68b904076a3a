namespace ModelGen.Runtime;

/// <summary>
/// Blocks of quantized weights whose scales are searched for, so that the squared error is least where an importance matrix says that a column counts: a weight's importance is its column's mean square of inputs,
/// in most formats times √(σ² + x²) besides. Given the same numbers, ggml's <c>ggml_quantize_chunk</c> writes the same bytes.
/// </summary>
internal static class WeightedBlocks
{
    // What ggml takes for zero.
    private const float LeastGroup = 1e-15f;

    /// <summary>Writes a row.</summary>
    /// <param name="type">The format.</param>
    /// <param name="row">The row, whole blocks.</param>
    /// <param name="importance">The importance of each column.</param>
    /// <param name="destination">The blocks.</param>
    public static void Write(GgmlType type, ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<byte> destination)
    {
        (int elements, int bytes) = GgmlBlocks.Size(type);
        if (type is not (GgmlType.Q4_0 or GgmlType.Q4_1 or GgmlType.Q5_0 or GgmlType.Q5_1 or GgmlType.Q4_K or GgmlType.Q6_K))
        {
            // What the others choose does not ask for it.
            GgmlBlocks.Write(type, row, destination);
            return;
        }

        float square = 0;
        foreach (float value in row)
        {
            square += value * value;
        }

        float variance = square / row.Length;
        for (int start = 0; start < row.Length; start += elements)
        {
            ReadOnlySpan<float> values = row.Slice(start, elements);
            ReadOnlySpan<float> columns = importance.Slice(start, elements);
            Span<byte> block = destination.Slice(start / elements * bytes, bytes);
            switch (type)
            {
                case GgmlType.Q4_K:
                    WriteQ4K(values, columns, block);
                    break;
                case GgmlType.Q6_K:
                    WriteQ6K(values, columns, block);
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
        Span<float> weights = stackalloc float[Count];
        Span<int> levels = stackalloc int[Count];
        Weigh(values, importance, variance, weights);
        bool hasMinimum = type is GgmlType.Q4_1 or GgmlType.Q5_1;
        bool hasFifths = type is GgmlType.Q5_0 or GgmlType.Q5_1;
        int most = hasFifths ? 32 : 16;
        float scale;
        int at = 2;
        if (hasMinimum)
        {
            scale = Affine(values, weights, most - 1, levels, out float less);
            BitConverter.TryWriteBytes(block[2..], (Half)(-less));
            at = 4;
        }
        else
        {
            scale = Symmetric(values, weights, most / 2, levels);
        }

        BitConverter.TryWriteBytes(block, (Half)scale);
        uint fifths = 0;
        int low = at + (hasFifths ? 4 : 0);
        for (int i = 0; i < 16; i++)
        {
            block[low + i] = (byte)((levels[i] & 15) | ((levels[i + 16] & 15) << 4));
            fifths |= ((uint)(levels[i] >> 4) << i) | ((uint)(levels[i + 16] >> 4) << (i + 16));
        }

        if (hasFifths)
        {
            BitConverter.TryWriteBytes(block[at..], fifths);
        }
    }

    private static void WriteQ4K(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, Span<byte> block)
    {
        const int Parts = 8, Count = 32;
        Span<float> weights = stackalloc float[Count], scales = stackalloc float[Parts], minima = stackalloc float[Parts], sums = stackalloc float[Parts];
        Span<int> levels = stackalloc int[Parts * Count], sixScales = stackalloc int[Parts], sixMinima = stackalloc int[Parts];
        float square = 0;
        foreach (float value in values)
        {
            square += value * value;
        }

        float variance = 2 * square / values.Length;
        for (int part = 0; part < Parts; part++)
        {
            ReadOnlySpan<float> own = values.Slice(Count * part, Count);
            Weigh(own, importance.Slice(Count * part, Count), variance, weights);
            float sum = 0;
            foreach (float weight in weights)
            {
                sum += weight;
            }

            sums[part] = sum;
            scales[part] = Affine(own, weights, 15, levels.Slice(Count * part, Count), out minima[part]);
        }

        // Scales and minima are numbers of 6 bits themselves, of which those of heavy parts count more.
        float scale = Positive(scales, sums, 63, sixScales);
        float minimum = Positive(minima, sums, 63, sixMinima);
        block.Clear();
        BitConverter.TryWriteBytes(block, (Half)scale);
        BitConverter.TryWriteBytes(block[2..], (Half)minimum);
        for (int part = 0; part < Parts; part++)
        {
            SuperBlocks.PutSixes(block.Slice(4, 12), part, sixScales[part], sixMinima[part]);
            float step = (float)(Half)scale * sixScales[part], less = (float)(Half)minimum * sixMinima[part];
            for (int i = 0; i < Count; i++)
            {
                int at = (Count * part) + i;
                int level = step != 0 ? Math.Clamp(Nearest((values[at] + less) / step), 0, 15) : levels[at];
                block[16 + (Count * (part / 2)) + i] |= (byte)(level << (4 * (part % 2)));
            }
        }
    }

    private static void WriteQ6K(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, Span<byte> block)
    {
        const int Parts = 16, Count = 16;
        Span<float> scales = stackalloc float[Parts];
        Span<int> levels = stackalloc int[Parts * Count];
        float extreme = 0;
        for (int part = 0; part < Parts; part++)
        {
            scales[part] = Symmetric(values.Slice(Count * part, Count), importance.Slice(Count * part, Count), 32, levels.Slice(Count * part, Count));
            extreme = Math.Abs(scales[part]) > Math.Abs(extreme) ? scales[part] : extreme;
        }

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
                int at = (Count * part) + i;
                int level = step != 0 ? Math.Clamp(Nearest(values[at] / step), -32, 31) + 32 : levels[at];
                block[(64 * half) + (32 * (quarter % 2)) + (16 * (part % 2)) + i] |= (byte)((level & 15) << (4 * (quarter / 2)));
                block[128 + (32 * half) + (16 * (part % 2)) + i] |= (byte)(level >> 4 << (2 * quarter));
            }
        }
    }

    private static void Weigh(ReadOnlySpan<float> values, ReadOnlySpan<float> importance, float variance, Span<float> weights)
    {
        for (int i = 0; i < weights.Length; i++)
        {
            weights[i] = importance[i] * MathF.Sqrt(variance + (values[i] * values[i]));
        }
    }

    /// <summary>x ≈ s·(l − n), l from 0 to 2n − 1: of 19 grids around the one in which the element farthest from zero is −n, that of the least weighted error with the scale that is best for it.</summary>
    private static float Symmetric(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, int half, Span<int> levels)
    {
        float extreme = 0;
        foreach (float value in values)
        {
            extreme = Math.Abs(value) > Math.Abs(extreme) ? value : extreme;
        }

        levels.Fill(half);
        if (Math.Abs(extreme) < LeastGroup)
        {
            // Levels of zero, which are worth nothing at this scale.
            levels.Clear();
            return 0;
        }

        (float product, float square) = Fit(values, weights, -half / extreme, levels);
        float scale = square != 0 ? product / square : 0;
        float best = scale * product;
        Span<int> tried = stackalloc int[levels.Length];
        for (int step = -9; step <= 9; step++)
        {
            if (step == 0)
            {
                continue;
            }

            (product, square) = Fit(values, weights, -(half + (0.1f * step)) / extreme, tried);
            if (square > 0 && product * product > best * square)
            {
                tried.CopyTo(levels);
                scale = product / square;
                best = scale * product;
            }
        }

        return scale;

        (float Product, float Square) Fit(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, float by, Span<int> found)
        {
            (float product, float square) = (0, 0);
            for (int i = 0; i < values.Length; i++)
            {
                int level = Math.Clamp(Nearest(by * values[i]), -half, half - 1);
                found[i] = level + half;
                product += weights[i] * values[i] * level;
                square += weights[i] * level * level;
            }

            return (product, square);
        }
    }

    /// <summary>x ≈ s·l − m, l from 0 to n and m ≥ 0: of 37 grids and the one from the least element to the largest, that of the least weighted error with the scale and the minimum that are best for it by least squares.</summary>
    private static float Affine(ReadOnlySpan<float> values, ReadOnlySpan<float> weights, int most, Span<int> levels, out float less)
    {
        (float least, float largest, float sum, float sumOfValues) = (values[0], values[0], weights[0], weights[0] * values[0]);
        for (int i = 1; i < values.Length; i++)
        {
            (least, largest) = (Math.Min(least, values[i]), Math.Max(largest, values[i]));
            sum += weights[i];
            sumOfValues += weights[i] * values[i];
        }

        least = Math.Min(least, 0);
        if (largest <= least)
        {
            levels.Clear();
            less = -least;
            return 0;
        }

        float by = most / (largest - least);
        float scale = 1 / by, minimum = least, best = 0;
        for (int i = 0; i < values.Length; i++)
        {
            levels[i] = Math.Clamp(Nearest(by * (values[i] - least)), 0, most);
            float error = (scale * levels[i]) + minimum - values[i];
            best += weights[i] * (error * error);
        }

        Span<int> tried = stackalloc int[levels.Length];
        for (int step = 0; step <= 36; step++)
        {
            // From the best minimum so far on.
            by = (-0.9f + (0.05f * step) + most) / (largest - minimum);
            (float sumOfLevels, float sumOfSquares, float sumOfProducts) = (0, 0, 0);
            for (int i = 0; i < values.Length; i++)
            {
                int level = tried[i] = Math.Clamp(Nearest(by * (values[i] - minimum)), 0, most);
                sumOfLevels += weights[i] * level;
                sumOfSquares += weights[i] * level * level;
                sumOfProducts += weights[i] * level * values[i];
            }

            float determinant = (sum * sumOfSquares) - (sumOfLevels * sumOfLevels);
            if (!(determinant > 0))
            {
                continue;
            }

            float thisScale = ((sum * sumOfProducts) - (sumOfValues * sumOfLevels)) / determinant;
            float thisMinimum = ((sumOfSquares * sumOfValues) - (sumOfLevels * sumOfProducts)) / determinant;
            if (thisMinimum > 0)
            {
                thisMinimum = 0;
                thisScale = sumOfProducts / sumOfSquares;
            }

            float total = 0;
            for (int i = 0; i < values.Length; i++)
            {
                float error = (thisScale * tried[i]) + thisMinimum - values[i];
                total += weights[i] * (error * error);
            }

            if (total < best)
            {
                tried.CopyTo(levels);
                (best, scale, minimum) = (total, thisScale, thisMinimum);
            }
        }

        less = -minimum;
        return scale;
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
}
