using System;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ModelGen.Runtime;

namespace ModelGen.Leaf;

/// <summary>
/// Carries out the commands of an image: a block of memory that holds everything that they read and write. The same program runs the
/// same image on every processor, and the memory afterwards is compared.
/// </summary>
public static unsafe class Interpreter
{
    [UnmanagedCallersOnly(EntryPoint = "leaf_run")]
    public static void RunExported(byte* image) => Run(image);

    public static void Run(byte* image)
    {
        ImageHeader* header = (ImageHeader*)image;
        Command* commands = (Command*)(image + header->CommandsOffset);
        for (long i = 0; i < header->CommandCount; i++)
        {
            Command* command = commands + i;
            switch (command->Kind)
            {
                case CommandKind.Copy:
                    new Span<byte>(image + command->From, (int)command->Length).CopyTo(new Span<byte>(image + command->To, (int)command->Length));
                    break;
                case CommandKind.Plan:
                    RunPlan(image, command);
                    break;
                case CommandKind.Function:
                    Apply((ElementaryFunction)command->Which, (float*)(image + command->From), (float*)(image + command->To), command->Length);
                    break;
                case CommandKind.PathName:
                    Write(Simd.PathName, (int*)(image + command->To), command->Length);
                    break;
            }
        }
    }

    private static void RunPlan(byte* image, Command* command)
    {
        PlanContext context = default;
        context.Weights = (float*)(image + command->Weights);
        context.Gradients = (float*)(image + command->Gradients);
        context.Arena = (float*)(image + command->Arena);
        context.State = (float*)(image + command->State);
        context.Count = command->Count;
        context.Position = command->Position;
        context.Seed = command->Seed;
        context.LossNormalizer = command->LossNormalizer;
        context.GradientScale = command->GradientScale;
        context.Accumulate = command->Accumulate != 0;
        Plans.Run(command->Which, in context, new Worker(image + command->Scratch, command->ScratchBytes));
    }

    private static void Write(string text, int* characters, long length)
    {
        for (int i = 0; i < length; i++)
        {
            characters[i] = i < text.Length ? text[i] : 0;
        }
    }

    private static void Apply(ElementaryFunction function, float* x, float* y, long length)
    {
        for (long i = 0; i < length; i += 4)
        {
            Vector128<float> v = Vector128.Load(x + i);
            Vector128<float> f = function switch
            {
                ElementaryFunction.Exp => VectorMath.Exp(v),
                ElementaryFunction.Log => VectorMath.Log(v),
                ElementaryFunction.Tanh => VectorMath.Tanh(v),
                ElementaryFunction.Sigmoid => VectorMath.Sigmoid(v),
                _ => VectorMath.Erf(v),
            };
            Vector128.Store(f, y + i);
        }
    }
}
