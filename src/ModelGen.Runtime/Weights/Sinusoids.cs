namespace ModelGen.Runtime;

/// <summary>
/// The sinusoids by which a model knows positions (Vaswani et al., "Attention Is All You Need", 2017, section 3.5): row p holds sin(p·f) and
/// cos(p·f) of frequencies f that fall geometrically from 1 to about 1/10,000. Only correctly rounded operations are used, so that they are the
/// same on every machine.
/// </summary>
internal static class Sinusoids
{
    // ln 10,000.
    private const double LogPeriod = 9.2103403719761827;

    // π/2 as a number of few bits, so that products with small integers are exact, and what is left of it.
    private const double HalfPiHigh = 1.5707963267341256;
    private const double HalfPiLow = 6.0771005065061922e-11;

    /// <summary>Fills a table with a row for each position.</summary>
    /// <param name="table">The rows, one after the other.</param>
    /// <param name="width">The columns of a row.</param>
    /// <param name="first">The position of the first row.</param>
    /// <param name="halves">
    /// Whether sines fill the first half of the columns and cosines the second, of frequencies 10,000^(−i/(width/2 − 1)) as Tensor2Tensor has them; otherwise
    /// columns 2i and 2i + 1 hold the sine and the cosine of the paper's frequency 10,000^(−2i/width).
    /// </param>
    public static void Fill(Span<float> table, int width, int first, bool halves)
    {
        int pairs = halves ? width / 2 : (width + 1) / 2;
        for (int i = 0; i < pairs; i++)
        {
            double frequency = Exp(-LogPeriod * (halves ? (double)i / Math.Max(1, pairs - 1) : 2.0 * i / width));
            (int sine, int cosine) = halves ? (i, pairs + i) : (2 * i, (2 * i) + 1);
            for (int row = 0; row < table.Length / width; row++)
            {
                (double sin, double cos) = SinCos(((double)first + row) * frequency);
                table[(row * width) + sine] = (float)sin;
                if (cosine < width)
                {
                    table[(row * width) + cosine] = (float)cos;
                }
            }
        }
    }

    /// <summary>Fills a table of rotary positions: in row p, the cosines of p times each frequency and, behind them, the sines.</summary>
    /// <param name="table">The rows, one after the other, of two columns for each frequency.</param>
    /// <param name="frequencies">The radians from one position to the next.</param>
    /// <param name="factor">What cosines and sines are multiplied by.</param>
    public static void FillRotary(Span<float> table, ReadOnlySpan<double> frequencies, double factor)
    {
        // The angle of p is that of a multiple of 128 and a rest, each of which is computed once: long contexts have many positions.
        const int Block = 128;
        int width = 2 * frequencies.Length, rows = width == 0 ? 0 : table.Length / width;
        Span<(double Sin, double Cos)> rests = stackalloc (double, double)[Block];
        for (int i = 0; i < frequencies.Length; i++)
        {
            for (int rest = 0; rest < Math.Min(Block, rows); rest++)
            {
                rests[rest] = SinCos(rest * frequencies[i]);
            }

            for (int begin = 0; begin < rows; begin += Block)
            {
                (double sin, double cos) = SinCos(begin * frequencies[i]);
                for (int rest = 0; rest < Math.Min(Block, rows - begin); rest++)
                {
                    Span<float> row = table.Slice((begin + rest) * width, width);
                    row[i] = (float)(factor * ((cos * rests[rest].Cos) - (sin * rests[rest].Sin)));
                    row[frequencies.Length + i] = (float)(factor * ((sin * rests[rest].Cos) + (cos * rests[rest].Sin)));
                }
            }
        }
    }

    /// <summary>eˣ for x from −10 to 0: the power series at x/16, squared four times.</summary>
    private static double Exp(double x)
    {
        double part = x / 16, sum = 1;
        for (int k = 18; k >= 1; k--)
        {
            sum = 1 + (part / k * sum);
        }

        sum *= sum;
        sum *= sum;
        sum *= sum;
        return sum * sum;
    }

    /// <summary>Sine and cosine of an angle of 0 or more, reduced to ±π/4 (Cody and Waite), by their power series.</summary>
    internal static (double Sin, double Cos) SinCos(double angle)
    {
        double quarters = Math.Floor((angle * (1 / (HalfPiHigh + HalfPiLow))) + 0.5);
        double r = angle - (quarters * HalfPiHigh) - (quarters * HalfPiLow);
        double square = r * r, sin = 1, cos = 1;
        for (int k = 8; k >= 1; k--)
        {
            sin = 1 - (square / (2 * k * ((2 * k) + 1)) * sin);
            cos = 1 - (square / ((2 * k) * ((2 * k) - 1)) * cos);
        }

        sin *= r;
        return ((long)quarters & 3) switch
        {
            0 => (sin, cos),
            1 => (cos, -sin),
            2 => (-sin, -cos),
            _ => (-cos, sin),
        };
    }
}
