using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using Microsoft.CodeAnalysis;
using ModelGen.Compiler.Declarations;
using ModelGen.Compiler.Emit.CSharp;
using ModelGen.Compiler.Families;

namespace ModelGen.Compiler.Diagnostics;

/// <summary>
/// Compares a memory budget with what the model needs. The compiler writes its memory plan into constants of the class,
/// and they are read here, so that the model is not compiled a second time at every keystroke.
/// </summary>
internal static class MemoryBudgetCheck
{
    public static void Check(INamedTypeSymbol type, ModelSpec spec, Action<SpecProblem> report)
    {
        if (spec.Budget is not { } budget)
        {
            return;
        }

        Compare("InferenceBytes", budget.InferenceBytes,
        [
            ("weights", Constant(type, ModelConstants.WeightBytes)),
            ("arena", Constant(type, ModelConstants.InferenceArenaBytes)),
            ("state", Constant(type, ModelConstants.SessionStateBytes) * (Constant(type, ModelConstants.MaxBatch) ?? 1)),
        ]);
        Compare("TrainingBytes", budget.TrainingBytes,
        [
            ("weights", Constant(type, ModelConstants.WeightBytes)),
            ("gradients", Constant(type, ModelConstants.GradientBytes)),
            ("arena", Constant(type, ModelConstants.TrainingArenaBytes)),
        ]);

        void Compare(string argument, long allowed, IEnumerable<(string What, long? Bytes)> parts)
        {
            List<(string What, long? Bytes)> present = [.. parts.Where(part => part.Bytes > 0)];
            long needed = present.Sum(part => part.Bytes ?? 0);
            if (allowed > 0 && needed > allowed)
            {
                string sum = string.Join(" + ", present.Select(part => part.What + " " + Text(part.Bytes ?? 0)));
                report(new SpecProblem(
                    DiagnosticIds.BudgetExceeded,
                    argument,
                    [argument, Text(allowed), type.Name, Text(needed), sum],
                    DeclaredAttributes.MemoryBudget));
            }
        }
    }

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);

    private static long? Constant(INamedTypeSymbol type, string name)
        => type.GetMembers(name).OfType<IFieldSymbol>().FirstOrDefault(field => field.HasConstantValue)?.ConstantValue switch
        {
            long value => value,
            int value => value,
            _ => null,
        };
}
