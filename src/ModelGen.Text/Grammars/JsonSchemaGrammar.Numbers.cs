using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>Numbers, and those between bounds: digit by digit, a text is beyond a bound, below it, or still what the bound begins with.</summary>
internal sealed partial class JsonSchemaGrammar
{
    // Digits in front of the point, and behind it.
    private const int LargestDigits = 16;

    private static readonly decimal s_largest = 9_999_999_999_999_999;

    private int Digit => _builder.Characters([('0', '9')], isNegated: false);

    /// <summary>A bound of numbers.</summary>
    /// <param name="Value">The bound.</param>
    /// <param name="IsOutside">Whether it is outside of its range itself.</param>
    private readonly record struct Bound(decimal Value, bool IsOutside)
    {
        public Bound Negated => new(-Value, IsOutside);
    }

    private int Number(SchemaJson schema, bool isInteger, string path)
    {
        Bound? least = Tighter(BoundOf(schema, "minimum", isOutside: false, path), BoundOf(schema, "exclusiveMinimum", isOutside: true, path), isLeast: true);
        Bound? most = Tighter(BoundOf(schema, "maximum", isOutside: false, path), BoundOf(schema, "exclusiveMaximum", isOutside: true, path), isLeast: false);
        List<List<int>> alternatives = (least, most) is (null, null) ? [[.. isInteger ? Integer() : Decimal()]] : isInteger ? Integers(least, most) : Decimals(least, most);
        return alternatives.Count > 0 ? Rule(alternatives) : throw Wrong(path, $"no {(isInteger ? "integer" : "number")} of {LargestDigits} digits lies between its minimum and its maximum.");
    }

    private IEnumerable<int> Integer()
    {
        int number = _builder.Add([[.. _builder.Text("0")], [_builder.Characters([('1', '9')], isNegated: false), .. _builder.Repeat([Digit], 0, LargestDigits - 1)]]);
        return [.. _builder.Repeat([.. _builder.Text("-")], 0, 1), GrammarBuilder.Reference(number)];
    }

    private IEnumerable<int> Decimal()
    {
        int sign = _builder.Add([[], [.. _builder.Text("+")], [.. _builder.Text("-")]]);
        List<int> exponent = _builder.Repeat([GrammarBuilder.Reference(_builder.Add([[_builder.Characters([('e', 'e'), ('E', 'E')], isNegated: false), GrammarBuilder.Reference(sign), .. _builder.Repeat([Digit], 1, 2)]]))], 0, 1);
        return [.. Integer(), .. AnyFraction(), .. exponent];
    }

    private List<int> AnyFraction() => _builder.Repeat([GrammarBuilder.Reference(_builder.Add([[.. _builder.Text("."), .. _builder.Repeat([Digit], 1, LargestDigits)]]))], 0, 1);

    private Bound? BoundOf(SchemaJson schema, string name, bool isOutside, string path)
    {
        if (schema.Find(name) is not { } value)
        {
            return null;
        }

        if (value.Kind != SchemaJsonKind.Number || !double.TryParse(value.Raw, NumberStyles.Float, CultureInfo.InvariantCulture, out double size))
        {
            throw Wrong(path, $"{name}: expected a number.");
        }

        // What has more digits than numbers have here is beyond all of them.
        if (Math.Abs(size) > (double)s_largest)
        {
            return new Bound(size < 0 ? -s_largest - 1 : s_largest + 1, isOutside);
        }

        return decimal.TryParse(value.Raw, NumberStyles.Float, CultureInfo.InvariantCulture, out decimal bound) && (bound != 0 || size == 0)
            ? new Bound(bound, isOutside)
            : throw Wrong(path, FormattableString.Invariant($"{name}: expected a number with no more than {LargestDigits} digits behind its point."));
    }

    private static Bound? Tighter(Bound? first, Bound? second, bool isLeast)
    {
        if (first is not { } one || second is not { } other)
        {
            return first ?? second;
        }

        return one.Value == other.Value ? new Bound(one.Value, IsOutside: true) : one.Value > other.Value == isLeast ? one : other;
    }

    private List<List<int>> Integers(Bound? least, Bound? most)
    {
        decimal from = least is { } low ? Math.Max(-s_largest, low.IsOutside ? Math.Floor(low.Value) + 1 : Math.Ceiling(low.Value)) : -s_largest;
        decimal to = most is { } high ? Math.Min(s_largest, high.IsOutside ? Math.Ceiling(high.Value) - 1 : Math.Floor(high.Value)) : s_largest;
        return [.. Below(Wholes(Math.Max(1, -to), -from)), .. Wholes(Math.Max(0, from), to)];
    }

    private List<List<int>> Decimals(Bound? least, Bound? most)
    {
        Bound from = least ?? new Bound(-s_largest - 1, IsOutside: true), to = most ?? new Bound(s_largest + 1, IsOutside: true);
        var zero = new Bound(0, IsOutside: false);
        return [.. from.Value < 0 ? Below(Magnitudes(to.Value <= 0 ? to.Negated : zero, from.Negated)) : [], .. to.Value >= 0 ? Magnitudes(from.Value >= 0 ? from : zero, to) : []];
    }

    private List<List<int>> Below(List<List<int>> alternatives) => [.. alternatives.Select(one => new List<int>([.. _builder.Text("-"), .. one]))];

    /// <summary>Numbers from one bound to another, neither below zero, without exponents.</summary>
    private List<List<int>> Magnitudes(Bound least, Bound most)
    {
        (decimal low, decimal high) = (Math.Floor(least.Value), Math.Floor(most.Value));
        string lowFraction = FractionOf(least.Value), highFraction = FractionOf(most.Value);
        if (low > high || (low == high && least.Value > most.Value))
        {
            return [];
        }

        if (low == high)
        {
            return With(low, new FractionRange(this, lowFraction, least.IsOutside, highFraction, most.IsOutside).Whole(true, true));
        }

        List<List<int>> between = [.. Wholes(low + 1, Math.Min(high - 1, s_largest)).Select(whole => new List<int>([.. whole, .. AnyFraction()]))];
        return
        [
            .. With(low, new FractionRange(this, lowFraction, least.IsOutside, "", false).Whole(true, false)),
            .. between,
            .. With(high, new FractionRange(this, "", false, highFraction, most.IsOutside).Whole(false, true)),
        ];

        List<List<int>> With(decimal whole, List<List<int>> fractions) => whole > s_largest || fractions.Count == 0 ? [] : [[.. _builder.Text(whole.ToString("F0", CultureInfo.InvariantCulture)), GrammarBuilder.Reference(_builder.Add(fractions))]];
    }

    private static string FractionOf(decimal value)
    {
        string text = value.ToString(CultureInfo.InvariantCulture);
        int point = text.IndexOf('.');
        return point < 0 ? "" : text.Substring(point + 1).TrimEnd('0');
    }

    /// <summary>Whole numbers from one to another, neither below zero: those of each number of digits by themselves.</summary>
    private List<List<int>> Wholes(decimal least, decimal most)
    {
        List<List<int>> alternatives = [];
        decimal first = 0, next = 10;
        for (int digits = 1; digits <= LargestDigits; digits++)
        {
            (decimal from, decimal to) = (Math.Max(first, least), Math.Min(next - 1, most));
            if (from <= to)
            {
                alternatives.Add(Digits(from.ToString("F0", CultureInfo.InvariantCulture), to.ToString("F0", CultureInfo.InvariantCulture)));
            }

            (first, next) = (next, next * 10);
        }

        return alternatives;
    }

    /// <summary>Texts of digits from one to another, both as long.</summary>
    private List<int> Digits(string least, string most)
    {
        if (least.Length == 0)
        {
            return [];
        }

        string low = least.Substring(1), high = most.Substring(1);
        if (least[0] == most[0])
        {
            return [.. _builder.Text(least.Substring(0, 1)), .. Digits(low, high)];
        }

        string zeros = new('0', low.Length), nines = new('9', low.Length);
        (char from, char to) = (low == zeros ? least[0] : (char)(least[0] + 1), high == nines ? most[0] : (char)(most[0] - 1));
        List<List<int>> alternatives = [];
        if (from <= to)
        {
            alternatives.Add([_builder.Characters([(from, to)], isNegated: false), .. _builder.Repeat([Digit], low.Length, low.Length)]);
        }

        if (low != zeros)
        {
            alternatives.Add([.. _builder.Text(least.Substring(0, 1)), .. Digits(low, nines)]);
        }

        if (high != nines)
        {
            alternatives.Add([.. _builder.Text(most.Substring(0, 1)), .. Digits(zeros, high)]);
        }

        return [GrammarBuilder.Reference(_builder.Add(alternatives))];
    }

    /// <summary>Digits behind a point from one bound to another. Tight to a bound is what has been its own digits so far.</summary>
    private sealed class FractionRange(JsonSchemaGrammar grammar, string least, bool isLeastOutside, string most, bool isMostOutside)
    {
        private readonly GrammarBuilder _builder = grammar._builder;
        private readonly int _length = Math.Max(least.Length, most.Length);

        /// <summary>The point and the digits behind it, or nothing; no alternative where there is none.</summary>
        public List<List<int>> Whole(bool isLow, bool isHigh)
        {
            List<List<int>> alternatives = [.. Digits(0, isLow, isHigh).Select(digits => new List<int>([.. _builder.Text("."), .. digits]))];
            if (MayEnd(0, isLow, isHigh))
            {
                alternatives.Add([]);
            }

            return alternatives;
        }

        // Zeros may follow what ends.
        private bool MayEnd(int at, bool isLow, bool isHigh)
            => (!isLow || (IsZero(least, at) && !isLeastOutside)) && (!isHigh || !IsZero(most, at) || !isMostOutside);

        private static bool IsZero(string digits, int at) => at >= digits.Length;

        private static char At(string digits, int at) => at < digits.Length ? digits[at] : '0';

        private List<List<int>> Digits(int at, bool isLow, bool isHigh)
        {
            if (!isLow && !isHigh)
            {
                return [_builder.Repeat([grammar.Digit], 1, LargestDigits)];
            }

            int zero = _builder.Characters([('0', '0')], isNegated: false);
            if (at >= _length)
            {
                // What has been the upper bound so far has nothing but zeros left, and what has been the lower one is beyond it by any other digit.
                List<int> zeros = _builder.Repeat([zero], 1, LargestDigits);
                return isHigh ? isMostOutside || (isLow && isLeastOutside) ? [] : [zeros]
                    : !isLeastOutside ? [_builder.Repeat([grammar.Digit], 1, LargestDigits)]
                    : [[.. _builder.Repeat([zero], 0, LargestDigits), _builder.Characters([('1', '9')], isNegated: false), .. _builder.Repeat([grammar.Digit], 0, LargestDigits)]];
            }

            (char low, char high) = (isLow ? At(least, at) : '0', isHigh ? At(most, at) : '9');
            List<List<int>> alternatives = [];
            if (low > high)
            {
                return alternatives;
            }

            (char from, char to) = (isLow ? (char)(low + 1) : low, isHigh ? (char)(high - 1) : high);
            if (from <= to)
            {
                alternatives.Add([_builder.Characters([(from, to)], isNegated: false), .. _builder.Repeat([grammar.Digit], 0, LargestDigits)]);
            }

            if (isLow && isHigh && low == high)
            {
                Go(low, true, true);
            }
            else
            {
                if (isLow)
                {
                    Go(low, true, false);
                }

                if (isHigh)
                {
                    Go(high, false, true);
                }
            }

            return alternatives;

            void Go(char digit, bool isStillLow, bool isStillHigh)
            {
                List<List<int>> rest = Digits(at + 1, isStillLow, isStillHigh);
                if (MayEnd(at + 1, isStillLow, isStillHigh))
                {
                    rest.Add([]);
                }

                if (rest.Count > 0)
                {
                    alternatives.Add([.. _builder.Text(digit.ToString()), GrammarBuilder.Reference(_builder.Add(rest))]);
                }
            }
        }
    }
}
