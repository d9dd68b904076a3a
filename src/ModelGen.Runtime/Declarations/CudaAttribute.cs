namespace ModelGen;

/// <summary>
/// Asks for a CUDA path beside the C# code of a declared model: its kernels as PTX, what is launched of them for each entry point, and a plan
/// of the device's memory. Sessions and trainers run there where their options say so (<see cref="SessionOptions.Device"/>,
/// <see cref="TrainerOptions.Device"/>); nothing but an NVIDIA driver is needed for it. Without it nothing of the kind is emitted.
/// </summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false, Inherited = false)]
public sealed class CudaAttribute : Attribute;
