using System;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ModelGen;
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
                case CommandKind.Products:
                    Multiply(image, command);
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

    private static void Multiply(byte* image, Command* command)
    {
        switch ((WeightFormat)command->Which)
        {
            case WeightFormat.Q8_0:
                Multiply<Q8_0>(image, command);
                break;
            case WeightFormat.Q4_0:
                Multiply<Q4_0>(image, command);
                break;
            case WeightFormat.Q4_1:
                Multiply<Q4_1>(image, command);
                break;
            case WeightFormat.Q5_0:
                Multiply<Q5_0>(image, command);
                break;
            case WeightFormat.Q5_1:
                Multiply<Q5_1>(image, command);
                break;
            case WeightFormat.IQ4_NL:
                Multiply<IQ4_NL>(image, command);
                break;
            case WeightFormat.MXFP4:
                Multiply<MXFP4>(image, command);
                break;
            case WeightFormat.Q4_K:
                Multiply<Q4_K>(image, command);
                break;
            case WeightFormat.Q5_K:
                Multiply<Q5_K>(image, command);
                break;
            case WeightFormat.Q6_K:
                Multiply<Q6_K>(image, command);
                break;
        }
    }

    private static void Multiply<TFormat>(byte* image, Command* command)
        where TFormat : struct, IBlockFormat
    {
        const int Rows = BlockRows.GroupRows;
        var format = (WeightFormat)command->Which;
        int columns = (int)command->Length, blocks = columns / BlockRows.BlockColumns, inputBytes = BlockRows.InputBytes(columns);
        float* weights = (float*)(image + command->Weights), input = (float*)(image + command->From), sums = (float*)(image + command->To);
        byte* group = image + command->State, rounded = image + command->Arena, unpacked = image + command->Scratch;
        byte* stored = stackalloc byte[4096];
        var row = new Span<byte>(stored, columns / BlockRows.ColumnsOf(format) * BlockRows.BlockBytes(format));
        for (int r = 0; r < Rows; r++)
        {
            GgmlBlocks.Write(BlockRows.TypeOf(format), new ReadOnlySpan<float>(weights + (r * columns), columns), row);
            BlockRows.Put(format, row, group, r);
        }

        for (int r = 0; r < Rows; r++)
        {
            BlockRows.Read(format, group, r, columns, weights + (r * columns));
        }

        for (int r = 0; r < command->Count; r++)
        {
            BlockRows.Quantize(input + (r * columns), columns, rounded + (r * inputBytes));
            BlockTile.Multiply<F128, TFormat>(rounded + (r * inputBytes), group, blocks, sums + (r * Rows));
        }

        if (BlockRows.ColumnsOf(format) == BlockRows.BlockColumns)
        {
            BlockTile.Multiply<F128, TFormat>(rounded, command->Count, group, blocks, sums + (command->Count * Rows));
        }

        BlockTile.Unpack<TFormat>(group, blocks, unpacked);
        BlockTile.MultiplyUnpacked<F128, TFormat>(rounded, command->Count, unpacked, blocks, sums + (2 * command->Count * Rows));
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
