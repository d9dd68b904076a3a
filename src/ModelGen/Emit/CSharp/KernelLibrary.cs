using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Compiler.Emit.CSharp;

/// <summary>
/// The kernels that a model's plans call, each printed once under a name that says what it does. Where two of one operation and shape
/// differ, the later one's name adds in what: by the operands that only it has, or else by the first value that it was met computing.
/// </summary>
internal sealed class KernelLibrary(DeclaredNames names)
{
    private readonly Dictionary<string, string> _nameBySignature = [];
    private readonly Dictionary<string, Kernel> _kernelByName = [];
    private readonly Dictionary<string, string> _sharedByText = [];
    private readonly HashSet<string> _taken = [];
    private readonly List<string> _texts = [];

    /// <summary>The methods' texts in the order of their first use.</summary>
    public IReadOnlyList<string> Texts => _texts;

    /// <summary>The name of the method that runs a kernel, which is printed if it is the first of its kind.</summary>
    public string NameOf(Kernel kernel, KernelPlan plan, KernelCode code)
    {
        string signature = KernelSignature.Of(kernel) + plan.Signature + (kernel.IsSerial() ? " serial" : "") + (code.IsOfPiece ? " of a piece" : "");
        if (!_nameBySignature.TryGetValue(signature, out string? name))
        {
            string operation = KernelNames.Operation(kernel, code);
            name = Names(kernel, operation, code).First(_taken.Add);
            _nameBySignature.Add(signature, name);
            _kernelByName.Add(name, kernel);
            _texts.Add(code.Print(name, this));
        }

        return name;
    }

    /// <summary>
    /// The name of a method that several kernels call, which is printed if there is none of its text yet.
    /// </summary>
    /// <param name="name">What the method does; where another one is called so, a number tells them apart.</param>
    /// <param name="print">The method's text, given its name.</param>
    public string Share(string name, Func<string, string> print)
    {
        string text = print(name);
        if (!_sharedByText.TryGetValue(text, out string? shared))
        {
            shared = name;
            for (int i = 2; !_taken.Add(shared); i++)
            {
                shared = $"{name}_{i}";
            }

            _sharedByText.Add(text, shared);
            _texts.Add(shared == name ? text : print(shared));
        }

        return shared;
    }

    private IEnumerable<string> Names(Kernel kernel, string operation, KernelCode code)
    {
        string plain = operation + code.Shape;
        yield return plain;
        if (_kernelByName.TryGetValue(plain, out Kernel? other))
        {
            KernelOperand[] own = [.. kernel.Operands.Where(o => !other.Operands.Any(p => p.Name == o.Name && p.IsWritten == o.IsWritten))];
            foreach (bool isWritten in new[] { false, true })
            {
                // A number tells no reader anything.
                string[] roles = [.. own.Where(o => o.IsWritten == isWritten && !char.IsDigit(o.Name[o.Name.Length - 1])).Select(o => o.Name)];
                for (int count = 1; count <= Math.Min(roles.Length, 2); count++)
                {
                    yield return $"{plain}_{string.Join("_", roles.Take(count))}";
                }
            }

            if (other.Operands.FirstOrDefault(o => !kernel.Operands.Any(p => p.Name == o.Name && p.IsWritten == o.IsWritten)) is { } missing)
            {
                yield return $"{plain}_without_{missing.Name}";
            }

            string[] placed = [.. kernel.Operands.Where(o => !other.Operands.Any(p => p.Name == o.Name && p.Access.Equals(o.Access))).Select(o => o.Name).Take(2)];
            if (placed.Length > 0)
            {
                yield return $"{plain}_{string.Join("_", placed)}Strided";
            }

            if (code.IsOfPiece)
            {
                yield return plain + "_OfPiece";
            }

            if (kernel.IsSerial() != other.IsSerial())
            {
                yield return plain + (kernel.IsSerial() ? "_Alone" : "_Shared");
            }
        }

        string value = names.Identifier(kernel.Operands.First(o => o.IsWritten).View.Buffer.Name);
        yield return $"{plain}_{value}";
        for (char c = 'B'; c <= 'Z'; c++)
        {
            yield return $"{plain}_{value}{c}";
        }

        for (int i = 1; ; i++)
        {
            yield return $"{plain}_{value}Z{CodeWriter.Number(i)}";
        }
    }
}
