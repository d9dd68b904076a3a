using System;
using System.Collections.Generic;
using System.Linq;

namespace ModelGen.Compiler.Kernels;

/// <summary>
/// Names of kernel operands, taken from the names of nodes. They end in no digit but after an underscore, are no keyword, and
/// leave alone the words that backends use for their own variables, which otherwise all end in a digit.
/// </summary>
internal static class OperandNames
{
    private const string Suffix = "_value";

    private static readonly HashSet<string> Reserved = new(
        ("a b c d e f g h i j k l m n o p q r s t u v w x y z row rows column columns start end step panel workspace worker scratch "
        + "height width group vectors transpose sums next done every follows follow following later ahead depth block blocks padded packed "
        + "most least strips panels panelCount stripCount depthBlock distance first last firstUnit lastUnit firstPacked lastPacked isFirst "
        + "rowCount wholePanels wholeGroups blockStrips aheadVectors pieceAt nextAt sharedAt paddedAt sumElements sharedElements "
        + "tile strip firstStrip lastStrip firstRow lastRow dot count position seed lossNormalizer gradientScale accumulate context "
        + "abstract as base bool break byte case catch char checked class const continue decimal default delegate do double else enum "
        + "event explicit extern false finally fixed float for foreach goto if implicit in int interface internal is lock long "
        + "namespace new null object operator out override params private protected public readonly ref return sbyte sealed short "
        + "sizeof stackalloc static string struct switch this throw true try typeof uint ulong unchecked unsafe ushort using virtual "
        + "void volatile while").Split(' '), StringComparer.Ordinal);

    /// <summary>
    /// The last part of a node's name as an identifier, so that layers of one shape share a kernel: <c>h.3.ln_1.mean</c>
    /// is <c>mean</c>, and a cotangent <c>d ….mean</c> is <c>d_mean</c>.
    /// </summary>
    public static string Role(string nodeName)
    {
        bool derivative = nodeName.StartsWith("d ", StringComparison.Ordinal);
        string last = nodeName.Substring(nodeName.LastIndexOf('.') + 1).Replace("d ", "");
        string role = new string(last.Select(c => c is >= 'a' and <= 'z' or >= 'A' and <= 'Z' or >= '0' and <= '9' ? c : '_').ToArray()).TrimEnd('0', '1', '2', '3', '4', '5', '6', '7', '8', '9').TrimEnd('_');
        role = (derivative ? "d_" : "") + (role.Length == 0 ? "value" : role[0] is >= '0' and <= '9' or '_' ? "v" + role : role);

        // Backends keep a pointer to the current row of an operand under its name and "_r".
        return Reserved.Contains(role) || (role.StartsWith("count", StringComparison.Ordinal) && role.Length > 5 && role[5] is >= 'A' and <= 'Z') || role.EndsWith("_r", StringComparison.Ordinal) ? role + Suffix : role;
    }

    /// <summary>The name, or the name with a number behind it, that none of <paramref name="taken"/> is.</summary>
    public static string Unique(string name, IReadOnlyCollection<string> taken)
    {
        string candidate = name;
        for (int i = 2; taken.Contains(candidate); i++)
        {
            candidate = name + "_" + i.ToString(System.Globalization.CultureInfo.InvariantCulture);
        }

        return candidate;
    }
}
