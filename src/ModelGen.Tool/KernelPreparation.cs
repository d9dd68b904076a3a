using System.Reflection;
using System.Runtime.CompilerServices;
using ModelGen.Runtime;

namespace ModelGen.Tool;

/// <summary>
/// Has a model's kernels compiled to machine code while its weights are read, on a thread of its own. Otherwise the first token waits for them, on all threads: kernels are compiled once and as well
/// as they can be, when they are called first.
/// </summary>
internal static class KernelPreparation
{
    private const BindingFlags Own = BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    /// <summary>Begins, where there is a processor beside the one that reads. What fails here is met again by the first call.</summary>
    /// <param name="assembly">The compiled model's.</param>
    public static void Begin(Assembly assembly)
    {
        if (Environment.ProcessorCount > 1)
        {
            new Thread(() => Prepare(assembly)) { IsBackground = true, Name = "ModelGen kernels", Priority = ThreadPriority.BelowNormal }.Start();
        }
    }

    /// <summary>Compiles the kernels, those of a single token first.</summary>
    /// <returns>How many methods were compiled.</returns>
    internal static int Prepare(Assembly assembly)
    {
        int count = 0;
        Type vector = Simd.Use512 ? typeof(F512) : Simd.Use256 ? typeof(F256) : typeof(F128);
        try
        {
            foreach (MethodInfo method in assembly.GetTypes().Where(static type => type.Name == "Kernels`1").SelectMany(static type => type.GetMethods(Own)).Where(IsKernel).OrderBy(TakesAnyLength))
            {
                RuntimeHelpers.PrepareMethod(method.MethodHandle, [vector.TypeHandle]);
                count++;
            }
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            // Whoever calls what cannot be compiled is told; on a thread of its own it would end the program.
        }

        return count;
    }

    // Plans, which call them, are compiled quickly, without optimization, when they run.
    private static bool IsKernel(MethodInfo method) => !method.IsGenericMethodDefinition && (method.MethodImplementationFlags & MethodImplAttributes.AggressiveOptimization) != 0;

    private static bool TakesAnyLength(MethodInfo method) => method.Name.Contains("Nx", StringComparison.Ordinal) || method.Name.Contains("xN", StringComparison.Ordinal);
}
