using ModelGen.Compiler.Kernels;
using ModelGen.Runtime;

namespace ModelGen.Tests.Compiler;

/// <summary>Scalar expressions in double precision.</summary>
internal static class ScalarFunctions
{
    /// <summary>
    /// The error function by its series erf x = 2/√π · e^(−x²) · Σ 2ⁿx²ⁿ⁺¹/(2n+1)!! (Abramowitz and Stegun 7.1.6), whose terms
    /// all have one sign, so that nothing cancels. From |x| = 6 on it is ±1 in double precision.
    /// </summary>
    public static double Erf(double x)
    {
        if (double.IsNaN(x) || Math.Abs(x) >= 6)
        {
            return double.IsNaN(x) ? x : Math.Sign(x);
        }

        double term = x;
        double sum = x;
        for (int n = 1; Math.Abs(term) > 1e-18 * Math.Abs(sum); n++)
        {
            term *= 2 * x * x / ((2 * n) + 1);
            sum += term;
        }

        return 2 / Math.Sqrt(Math.PI) * Math.Exp(-x * x) * sum;
    }

    /// <summary>The logistic function, without overflow on either side.</summary>
    public static double Sigmoid(double x)
    {
        double e = Math.Exp(-Math.Abs(x));
        return x >= 0 ? 1 / (1 + e) : e / (1 + e);
    }

    /// <summary>
    /// The dropout mask's number for an element: the counter is the element's row-major index, the first key is the seed's
    /// low half and the stream, exclusive-or, and the second its high half.
    /// </summary>
    public static float Uniform(int element, int stream, ulong seed)
        => Simd.Uniform((uint)element, (uint)seed ^ (uint)stream, (uint)(seed >> 32));

    /// <summary>
    /// Makes an expression a function of one element. Arguments: the elements of the operands, then row-major index and column of the element.
    /// </summary>
    public static Func<double[], int, int, double> Compile(Expr expression, RunArguments run)
    {
        var order = new List<Expr>();
        ExprTransforms.Visit(expression, order.Add);
        var slots = order.Select((e, i) => (e, i)).ToDictionary(p => p.e, p => p.i);
        var steps = order.Select(e => Step(e, slots, run)).ToArray();
        var values = new double[steps.Length];
        return (operands, element, column) =>
        {
            for (int i = 0; i < steps.Length; i++)
            {
                values[i] = steps[i](values, operands, element, column);
            }

            return values[^1];
        };
    }

    private static Func<double[], double[], int, int, double> Step(Expr expression, Dictionary<Expr, int> slots, RunArguments run)
    {
        switch (expression)
        {
            case ConstantExpr c:
                return (_, _, _, _) => c.Value;
            case OperandExpr o:
                return (_, operands, _, _) => operands[o.Operand];
            case ColumnExpr:
                return (_, _, _, column) => column;
            case RuntimeScalarExpr s:
                double scalar = run.Scalar(s.Kind);
                return (_, _, _, _) => scalar;
            case UniformExpr u:
                return (_, _, element, _) => Uniform(element, u.Stream, run.Seed);
            case UnaryExpr u:
                int x = slots[u.Operand];
                Func<double, double> f = u.Function switch
                {
                    UnaryFunction.Negate => v => -v,
                    UnaryFunction.Exp => Math.Exp,
                    UnaryFunction.Log => Math.Log,
                    UnaryFunction.Tanh => Math.Tanh,
                    UnaryFunction.Sigmoid => Sigmoid,
                    UnaryFunction.Erf => Erf,
                    UnaryFunction.Sqrt => Math.Sqrt,
                    _ => throw new NotSupportedException($"unary function {u.Function}"),
                };
                return (values, _, _, _) => f(values[x]);
            case BinaryExpr b:
                int left = slots[b.Left];
                int right = slots[b.Right];
                return b.Function switch
                {
                    BinaryFunction.Add => (values, _, _, _) => values[left] + values[right],
                    BinaryFunction.Subtract => (values, _, _, _) => values[left] - values[right],
                    BinaryFunction.Multiply => (values, _, _, _) => values[left] * values[right],
                    BinaryFunction.Divide => (values, _, _, _) => values[left] / values[right],
                    BinaryFunction.Maximum => (values, _, _, _) => Math.Max(values[left], values[right]),
                    BinaryFunction.Minimum => (values, _, _, _) => Math.Min(values[left], values[right]),
                    _ => throw new NotSupportedException($"binary function {b.Function}"),
                };
            case SelectExpr s:
                int a = slots[s.Left];
                int c2 = slots[s.Right];
                int then = slots[s.Then];
                int otherwise = slots[s.Otherwise];

                // A mask is a decision in single precision; deciding in double could differ for a number on the threshold.
                bool single = s.Left is UniformExpr || s.Right is UniformExpr;
                Func<double, double, bool> compare = s.Comparison switch
                {
                    Comparison.Equal => (p, q) => p == q,
                    Comparison.GreaterThan => (p, q) => p > q,
                    Comparison.GreaterThanOrEqual => (p, q) => p >= q,
                    _ => throw new NotSupportedException($"comparison {s.Comparison}"),
                };
                return (values, _, _, _) => (single ? compare((float)values[a], (float)values[c2]) : compare(values[a], values[c2])) ? values[then] : values[otherwise];
            default:
                throw new NotSupportedException($"expression {expression.GetType().Name} outside a kernel");
        }
    }
}
