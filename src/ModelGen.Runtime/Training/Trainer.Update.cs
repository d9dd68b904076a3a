using ModelGen.Runtime;

namespace ModelGen;

public abstract unsafe partial class Trainer
{
    /// <summary>
    /// The end of a step: the gradients' global norm, clipping, and the optimizer. The parameters are cut into chunks that do not
    /// depend on the number of threads, and the chunks' partial sums are added in order, so that neither do the results. A worker's
    /// chunks are contiguous memory, but for what it takes over from others.
    /// </summary>
    private sealed class Update : ITeamTask, IDisposable
    {
        // A chunk of gradients stays in the first-level cache between being summed and being used.
        private const int ChunkLength = 4096;

        // The work of fewer weights is less than what it takes two workers to meet.
        private const long LeastShared = 4096;

        // Memory is read in long pieces, but for the last ones, which are shared out again.
        private const int LeastChunks = 8;
        private const int MostChunks = 512;

        private readonly Trainer _trainer;
        private readonly GroupUpdate[] _groups;
        private readonly Chunk[] _chunks;
        private readonly double[] _partialSums;
        private readonly bool _shared;
        private readonly long _slotLength;
        private readonly CudaUpdate? _device;
        private float _stepRate;
        private float _limit;

        /// <param name="trainer">The trainer.</param>
        /// <param name="device">What it has on a device; null on the processor.</param>
        /// <param name="entry">The number of the step's entry point.</param>
        /// <param name="names">The parameters that it updates; null for all that are not frozen.</param>
        public Update(Trainer trainer, CudaTraining? device, int entry, string[]? names)
        {
            _trainer = trainer;
            Entry = entry;
            OptimizerGroup[] groups = trainer.Optimizer.Groups.Map(static group => group);
            _groups = [new GroupUpdate(null, trainer.Optimizer.CreateUpdate(null)), .. groups.Map(group => new GroupUpdate(group, trainer.Optimizer.CreateUpdate(group.WeightDecay)))];
            _slotLength = trainer.Trained.TotalLength;
            _shared = _slotLength >= LeastShared;
            var chunks = new List<Chunk>();
            foreach (ParameterInfo parameter in trainer.Trained.Parameters)
            {
                if (names is not null && !names.Contains(parameter.Name))
                {
                    continue;
                }

                ParameterInfo weight = trainer._weights.Table.Parameters[trainer._weights.Table.IndexOf(parameter.Name)];
                int number = 1 + Array.FindIndex(groups, group => group.Contains(parameter));
                float? decay = _groups[number].Group?.WeightDecay;
                for (long start = 0; start < parameter.Length; start += ChunkLength)
                {
                    chunks.Add(new Chunk(parameter.Offset + start, (int)Math.Min(ChunkLength, parameter.Length - start), decay is not null || parameter.WeightDecay, number, weight.Offset, start, trainer.MasterOf(weight) is not null));
                }
            }

            _chunks = [.. chunks];
            _partialSums = new double[_chunks.Length];
            if (device is not null && trainer.Optimizer.DeviceKernel is { } kernel)
            {
                var places = new CudaChunk[_chunks.Length];
                for (int i = 0; i < places.Length; i++)
                {
                    places[i] = new CudaChunk(_chunks[i].Offset, _chunks[i].Length, SetOf(_chunks[i].Group, _chunks[i].WeightDecay));
                }

                _device = device.CreateUpdate(kernel, places, 2 * _groups.Length);
            }
        }

        /// <summary>Whether the device updates the weights.</summary>
        public bool HasKernel => _device is not null;

        /// <summary>Whether the device was given the last update that it was to do.</summary>
        public bool IsLaunched => _device!.IsLaunched;

        /// <summary>The number of the step's entry point.</summary>
        public int Entry { get; }

        /// <summary>The learning rate of the last update; not a number before the first.</summary>
        public float LearningRate { get; set; } = float.NaN;

        public float GradientNorm { get; private set; }

        /// <summary>Before the workers begin the step.</summary>
        public void Begin()
        {
            _stepRate = _trainer.ScheduledRate(Entry);
            _limit = _trainer.Optimizer.GradientClip;
            foreach (GroupUpdate group in _groups)
            {
                group.Rate = group.Group?.LearningRate is { } rate ? _trainer.ScheduledRate(Entry, rate) : _stepRate;
                group.Update.Begin(_trainer._entrySteps[Entry] + 1, group.Rate);
            }
        }

        /// <summary>After the workers are done.</summary>
        public void End()
        {
            LearningRate = _stepRate;
            GradientNorm = _device?.Norm ?? (float)Norm();
        }

        /// <summary>Gives the update to the device, behind the step's gradients.</summary>
        public void StartOnDevice()
        {
            for (int group = 0; group < _groups.Length; group++)
            {
                _groups[group].Update.WriteCoefficients(decays: false, _device!.CoefficientsOf(SetOf(group, decays: false)));
                _groups[group].Update.WriteCoefficients(decays: true, _device.CoefficientsOf(SetOf(group, decays: true)));
            }

            _device!.Start(_limit);
        }

        /// <summary>Adds the gradients of all ranks, of what this step updates: parameters that lie behind each other at once, always in the same order.</summary>
        public void AddOfAllRanks(RankGroup ranks, CudaTraining device)
        {
            for (int first = 0, last; first < _chunks.Length; first = last)
            {
                // Between neighbours is what aligns the second one, zeros; what another step updates is not touched.
                long end = _chunks[first].Offset + _chunks[first].Length;
                for (last = first + 1; last < _chunks.Length && _chunks[last].Offset - end < ParameterTable.Alignment; last++)
                {
                    end = _chunks[last].Offset + _chunks[last].Length;
                }

                ranks.AddInPlace(device.Gradients + (ulong)(_chunks[first].Offset * sizeof(float)), end - _chunks[first].Offset);
            }
        }

        public void Dispose() => _device?.Dispose();

        /// <summary>Every worker's part, once all gradients are there.</summary>
        public void Execute(Worker worker)
        {
            if (_limit == 0)
            {
                ForAll(worker, Part.UpdateAndSum, 1);
                return;
            }

            ForAll(worker, Part.Sum, 1);
            if (_shared)
            {
                worker.Barrier();
            }

            // Everyone adds up everything, which is quicker than to wait for one to do it; not a number stays one.
            double factor = _limit / (Norm() + 1e-6);
            ForAll(worker, Part.Update, factor >= 1 ? 1 : (float)factor);
        }

        private void ForAll(Worker worker, Part part, float scale)
        {
            if (_shared)
            {
                worker.Share(_chunks.Length);
                while (worker.Take(LeastChunks, MostChunks, out int first, out int last))
                {
                    For(first, last, part, scale);
                }
            }
            else if (worker.Index == 0)
            {
                For(0, _chunks.Length, part, scale);
            }
        }

        private void For(int first, int last, Part part, float scale)
        {
            for (int index = first; index < last; index++)
            {
                switch (part)
                {
                    case Part.Sum:
                        _partialSums[index] = GradientMath.SumOfSquares(new ReadOnlySpan<float>(_trainer._gradients.Floats + _chunks[index].Offset, _chunks[index].Length));
                        break;
                    case Part.Update:
                        _groups[_chunks[index].Group].Update.Update(Range(index, scale));
                        Round(index, _trainer._entrySteps[Entry] + 1);
                        break;
                    default:
                        _partialSums[index] = _groups[_chunks[index].Group].Update.UpdateAndSum(Range(index, scale));
                        Round(index, _trainer._entrySteps[Entry] + 1);
                        break;
                }
            }
        }

        /// <summary>Rounds the master copy once more, as the last step did.</summary>
        public void RoundAgain()
        {
            for (int index = 0; index < _chunks.Length; index++)
            {
                Round(index, _trainer._entrySteps[Entry]);
            }
        }

        private void Round(int index, long step)
        {
            ref readonly Chunk chunk = ref _chunks[index];
            if (!chunk.IsRounded)
            {
                return;
            }

            float* from = _trainer._masters!.Floats + chunk.Offset;
            ushort* to = (ushort*)(_trainer._weights.Pointer + chunk.Weight) + chunk.Start;
            if (_trainer._rounding == WeightRounding.Stochastic)
            {
                BFloat16Rounding.Stochastic(from, to, chunk.Length, chunk.Offset, step, _trainer._seed);
            }
            else
            {
                BFloat16Rounding.Nearest(from, to, chunk.Length);
            }
        }

        // A group's parameters have the same numbers, but for those that weight decay does not apply to.
        private static int SetOf(int group, bool decays) => (2 * group) + (decays ? 1 : 0);

        private double Norm()
        {
            double sum = 0;
            foreach (double partial in _partialSums)
            {
                sum += partial;
            }

            return Math.Sqrt(sum);
        }

        private OptimizerRange Range(int index, float scale)
        {
            ref readonly Chunk chunk = ref _chunks[index];
            return new OptimizerRange(
                chunk.IsRounded ? _trainer._masters!.Floats + chunk.Offset : _trainer._weights.Pointer + chunk.Weight + chunk.Start,
                _trainer._gradients.Floats + chunk.Offset,
                _trainer._slots.Floats + chunk.Offset,
                _slotLength,
                chunk.Length)
            {
                SlotCount = _trainer._slotCount,
                GradientScale = scale,
                Step = _trainer._entrySteps[Entry] + 1,
                LearningRate = _groups[chunk.Group].Rate,
                WeightDecay = chunk.WeightDecay,
                GroupWeightDecay = _groups[chunk.Group].Group?.WeightDecay,
            };
        }

        private enum Part
        {
            Sum,
            Update,
            UpdateAndSum,
        }

        /// <param name="Offset">Where it begins among the gradients.</param>
        /// <param name="Length">Its elements.</param>
        /// <param name="WeightDecay">Whether weight decay applies.</param>
        /// <param name="Group">The group of the optimizer.</param>
        /// <param name="Weight">Where its parameter begins in the weights.</param>
        /// <param name="Start">The first of the parameter's elements that is in it.</param>
        /// <param name="IsRounded">Whether weights are rounded from a master copy.</param>
        private readonly record struct Chunk(long Offset, int Length, bool WeightDecay, int Group, long Weight, long Start, bool IsRounded);

        /// <summary>A group of the optimizer, or null for the parameters that are in none, and what this step does to it.</summary>
        private sealed class GroupUpdate(OptimizerGroup? group, OptimizerUpdate update)
        {
            public OptimizerGroup? Group { get; } = group;

            public OptimizerUpdate Update { get; } = update;

            public float Rate { get; set; }
        }
    }
}
