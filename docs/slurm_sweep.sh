#!/bin/bash
# A grid of nine runs as a SLURM job array, four at a time; each resumes where it was stopped when it is requeued.
#
#   sbatch docs/slurm_sweep.sh
#   python launch.py "${flags[@]}"        # afterwards: runs what failed, and writes the table and the picture
#
#SBATCH --job-name=cells
#SBATCH --array=0-8%4
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=01:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
#SBATCH --output=runs/cells-%a.out

flags=(--config=configs/cmudict.py --workdir=runs/cells --sweep="model.encoder.cell=lstm,gru,rnn;seed=0,1,2")
exec srun --ntasks=1 python launch.py "${flags[@]}" --sweep_cell="$SLURM_ARRAY_TASK_ID"
